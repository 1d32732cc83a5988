-- Put before every script. ARGV[1] is what all keys begin with; it holds the hash tag, so that all of them share a slot.
local B = ARGV[1]
local call, match, find, sub, byte = redis.call, string.match, string.find, string.sub, string.byte

-- The head of what is stored under an id: version, wake_at or -, place in the list or -, a flag (a job, p paused job,
-- t trace of a job that is gone), number of live runs, executor and task, and where the live runs begin.
local function head(text)
  return match(text, '^(%d+) (%S+) (%S+) (%a) (%d+)\n([^\n]*\n[^\n]*)\n()')
end

-- How many arguments are passed at once: Lua's stack takes 8000.
local STEP = 4000

local function many(command, key, list)
  if #list <= STEP then
    if #list == 0 then return {} end
    return call(command, key, unpack(list))
  end
  local all = {}
  for i = 1, #list, STEP do
    local part = call(command, key, unpack(list, i, math.min(i + STEP - 1, #list)))
    for j = 1, #part do all[#all + 1] = part[j] end
  end
  return all
end

-- Whether a comes before b, byte by byte: strings' own order goes by the server's locale.
local function before(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- Microseconds as text: what is above 10^14 would become 1e+14 by itself.
local function whole(number)
  return string.format('%.0f', number)
end

local function present(given)
  if given ~= '' then return tonumber(given) end
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

local function is_paused()
  local text = call('HGET', B .. 'record:scheduler', 'paused')
  if not text then return false end
  local ok, value = pcall(cjson.decode, match(text, '^%d+ (.*)$') or '')
  return ok and type(value) == 'table' and value.paused == true
end

-- Jobs, their definitions, their live runs and the ends of these runs' leases.
local function snapshots(ids)
  local states = many('HMGET', B .. 'state', ids)
  local live = {}
  for i = 1, #ids do
    if states[i] then
      local version, _, _, _, count, _, at = head(states[i])
      if version and count ~= '0' then
        for n = at, at + 16 * (count - 1), 16 do live[#live + 1] = sub(states[i], n, n + 15) end
      end
    end
  end
  local definitions = many('HMGET', B .. 'definitions', ids)
  return { ids, states, definitions, many('HMGET', B .. 'runs', live), many('ZMSCORE', B .. 'leases', live) }
end

-- Makes what was read of these jobs stale: something of a live run changes that is not in the state.
local function bump(jobs)
  for i = 1, #jobs do
    local text = call('HGET', B .. 'state', jobs[i])
    local version = text and match(text, '^(%d+) ')
    if version then call('HSET', B .. 'state', jobs[i], whole(version + 1) .. sub(text, #version + 1)) end
  end
end
