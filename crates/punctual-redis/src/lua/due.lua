-- The jobs that are due, earliest first, ties by id.
-- ARGV: base, now, limit, wake_at and id after which to begin (or empty), number of jobs to step over, these,
-- classes ("executor\ntask"). Returns what `snapshots` does, and the times.
local now, limit, after, after_id = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local excepted, except = tonumber(ARGV[6]), {}
for i = 7, 6 + excepted do except[ARGV[i]] = true end

-- Where the first job after the given one stands in a class.
local function rank_after(key)
  local low = call('ZCOUNT', key, '-inf', '(' .. after)
  local high = call('ZCOUNT', key, '-inf', after)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = call('ZRANGE', key, middle, middle)[1]
    if before(after_id, id) then high = middle else low = middle + 1 end
  end
  return low
end

local function due_in(key)
  local want = limit + excepted
  local found
  if after == '' then
    found = call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, want)
  else
    local rank = rank_after(key)
    found = call('ZRANGE', key, rank, rank + want - 1, 'WITHSCORES')
  end
  local ids, times = {}, {}
  for i = 1, #found, 2 do
    local time = tonumber(found[i + 1])
    if time > tonumber(now) or #ids == limit then break end
    if not except[found[i]] then
      ids[#ids + 1] = found[i]
      times[#times + 1] = time
    end
  end
  return { ids = ids, times = times, key = key, next = 1 }
end

-- Whether the next of one class comes before the next of another.
local function is_first(a, b)
  local x, y = a.times[a.next], b.times[b.next]
  if x ~= y then return x < y end
  return before(a.ids[a.next], b.ids[b.next])
end

-- Puts a class where its next job belongs, among classes in the order of theirs.
local function place(queue, class)
  local low, high = 1, #queue + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_first(class, queue[middle]) then high = middle else low = middle + 1 end
  end
  table.insert(queue, low, class)
end

local ids, times, keys
local function collect()
  ids, times, keys = {}, {}, {}
  local queue = {}
  for i = 7 + excepted, #ARGV do
    local class = due_in(B .. 'due:' .. ARGV[i])
    if #class.ids > 0 then place(queue, class) end
  end
  while #ids < limit and #queue > 0 do
    local class = queue[1]
    ids[#ids + 1], times[#times + 1], keys[#keys + 1] = class.ids[class.next], class.times[class.next], class.key
    class.next = class.next + 1
    if not class.ids[class.next] then
      table.remove(queue, 1)
    elseif #queue > 1 then
      table.remove(queue, 1)
      place(queue, class)
    end
  end
end

-- An entry that does not say what the job says was left by a hand, or by a job whose head could not be read.
local function mend(states)
  local mended = false
  for i = 1, #ids do
    local version, wake, _, _, _, class
    if states[i] then version, wake, _, _, _, class = head(states[i]) end
    local is_unreadable = states[i] and not version
    if not is_unreadable and not (version and B .. 'due:' .. class == keys[i] and tonumber(wake) == times[i]) then
      call('ZREM', keys[i], ids[i])
      if version and wake ~= '-' then call('ZADD', B .. 'due:' .. class, wake, ids[i]) end
      mended = true
    end
  end
  return mended
end

local answer
repeat
  collect()
  answer = snapshots(ids)
until not mend(answer[2])
for i = 1, #times do times[i] = whole(times[i]) end
answer[6] = times
return answer
