-- Writes each of some changes whole or not at all. Everything is judged before anything is written: what a script wrote
-- stays, even if it fails after.
-- ARGV: base, 1 for a claim, channel to announce on or empty, fence floor as the caller knows it or empty, number of changes,
-- the changes.
-- A change: id, expected version or empty, kind (J job, N nothing, U unread job), value, wake_at or empty, place in the list,
-- class, definition or empty where it stays, highest token, number of rows; then of each row: i or u (insert, update), id,
-- text, state, occurrence, end of the lease or of the run.
local CHANGE, ROW = 10, 6
local changes, ids, rows, occurrences = {}, {}, {}, {}
local at = 6
for i = 1, tonumber(ARGV[5]) do
  changes[i], ids[i] = at, ARGV[at]
  local first = at + CHANGE
  at = first + ROW * ARGV[at + 9]
  for row = first, at - 1, ROW do
    if ARGV[row] == 'i' then
      rows[#rows + 1], occurrences[#occurrences + 1] = ARGV[row + 1], ARGV[row + 4]
    end
  end
end
local states = many('HMGET', B .. 'state', ids)
local known_rows = many('HMGET', B .. 'runs', rows)
local known_occurrences = many('HMGET', B .. 'occurrences', occurrences)
local floor = tonumber(call('GET', B .. 'fence_floor') or 0)
local is_floor_known = ARGV[4] == '' or tonumber(ARGV[4]) == floor
local is_stopped = ARGV[2] == '1' and is_paused()

local taken_ids, taken_rows, taken_occurrences, inserted = {}, {}, {}, 0
local function fate(i)
  local change = changes[i]
  local last = change + CHANGE + ROW * ARGV[change + 9] - 1
  local first_insert = inserted
  for row = change + CHANGE, last, ROW do
    if ARGV[row] == 'i' then inserted = inserted + 1 end
  end
  local version = states[i] and (match(states[i], '^(%d+) ') or '0') or ''
  if is_stopped or version ~= ARGV[change + 1] or taken_ids[ids[i]] then return 'S' end
  -- The id may have been used and freed since the caller looked: its tokens have to go on from there.
  if version == '' and ARGV[change + 2] == 'J' and not is_floor_known then return 'S' end
  for n = first_insert + 1, inserted do
    if known_rows[n] or known_occurrences[n] or taken_rows[rows[n]] or taken_occurrences[occurrences[n]] then return 'C' end
  end
  for n = first_insert + 1, inserted do
    taken_rows[rows[n]], taken_occurrences[occurrences[n]] = true, true
  end
  taken_ids[ids[i]] = true
  return 'W'
end

local zadds, zrems, hsets, hdels, leases = {}, {}, {}, {}, {}
local function put(into, key, a, b)
  local list = into[key]
  if not list then
    list = {}
    into[key] = list
  end
  list[#list + 1] = a
  if b then list[#list + 1] = b end
end

local function leave_lists(id, wake, listed, class)
  if wake ~= '-' then put(zrems, 'due:' .. class, id) end
  if listed ~= '-' then put(zrems, 'listed', listed .. id) end
end

local function put_job(id, change, old)
  local wake, listed, class = ARGV[change + 4], ARGV[change + 5], ARGV[change + 6]
  local version, old_wake, old_listed, flag, _, old_class
  if old then version, old_wake, old_listed, flag, _, old_class = head(old) end
  if version then
    if old_wake ~= '-' and (wake == '-' or old_class ~= class) then put(zrems, 'due:' .. old_class, id) end
    if old_listed ~= '-' and old_listed ~= listed then put(zrems, 'listed', old_listed .. id) end
  end
  if wake ~= '-' and not (version and old_wake == wake and old_class == class) then put(zadds, 'due:' .. class, wake, id) end
  if old_listed ~= listed then put(zadds, 'listed', 0, listed .. id) end
  if not version or flag == 't' then put(zadds, 'ids', 0, id) end
  if ARGV[change + 7] ~= '' then put(hsets, 'definitions', id, ARGV[change + 7]) end
  put(hsets, 'state', id, ARGV[change + 3])
end

local function put_nothing(id, change, old)
  if old then
    local version, wake, listed, _, _, class = head(old)
    if version then leave_lists(id, wake, listed, class) end
    put(zrems, 'ids', id)
    put(hdels, 'definitions', id)
  end
  if ARGV[change + 3] ~= '' then
    put(hsets, 'state', id, ARGV[change + 3])
  elseif old then
    put(hdels, 'state', id)
  end
  floor = math.max(floor, tonumber(ARGV[change + 8]))
end

-- The value is the new version, the definition's place holds the live runs.
local function put_unread(id, change, old)
  local version, wake, listed, flag, count, class, from = head(old)
  if not version then return end
  local live = ARGV[change + 7]
  if flag == 'a' and (wake == '-' or tonumber(wake) > tonumber(ARGV[change + 4])) then
    wake = ARGV[change + 4]
    put(zadds, 'due:' .. class, wake, id)
  end
  local heading = table.concat({ ARGV[change + 3], wake, listed, flag, #live / 16 }, ' ')
  put(hsets, 'state', id, heading .. '\n' .. class .. '\n' .. live .. sub(old, from + 16 * count))
end

local function put_row(id, row)
  local run, state, time = ARGV[row + 1], ARGV[row + 3], ARGV[row + 5]
  put(hsets, 'runs', run, ARGV[row + 2])
  if ARGV[row] == 'i' then
    put(hsets, 'occurrences', ARGV[row + 4], run)
    put(zadds, 'of_job', 0, id .. '\0' .. run)
  else
    if state ~= 'pending' then put(zrems, 'runs:pending', run) end
    if state ~= 'running' then
      put(zrems, 'runs:running', run)
      put(zrems, 'leases', run)
    end
  end
  put(zadds, 'runs:' .. state, 0, run)
  if state == 'running' then
    leases[#leases + 1] = time
    leases[#leases + 1] = run
  elseif state ~= 'pending' then
    put(zadds, 'ended:' .. state, time, run)
  end
end

local put_kind = { J = put_job, N = put_nothing, U = put_unread }
local fates, is_written, floor_before = {}, false, floor
for i = 1, #changes do
  fates[i] = fate(i)
  if fates[i] == 'W' then
    is_written = true
    local change = changes[i]
    put_kind[ARGV[change + 2]](ids[i], change, states[i])
    local first = change + CHANGE
    for row = first, first + ROW * ARGV[change + 9] - 1, ROW do put_row(ids[i], row) end
  end
end

local function each(command, lists, option)
  for key, list in pairs(lists) do
    for i = 1, #list, STEP do
      local last = math.min(i + STEP - 1, #list)
      if option then
        call(command, B .. key, option, unpack(list, i, last))
      else
        call(command, B .. key, unpack(list, i, last))
      end
    end
  end
end
each('HSET', hsets)
each('ZREM', zrems)
each('HDEL', hdels)
each('ZADD', zadds)
-- A run that goes on keeps the lease that a renewal gave it since it was read.
each('ZADD', { leases = leases }, 'NX')
if floor > floor_before then call('SET', B .. 'fence_floor', whole(floor)) end
if is_written and ARGV[3] ~= '' then call('PUBLISH', ARGV[3], '') end
return table.concat(fates)
