-- Judges changes, and if all of them hold, writes them; else nothing. What a script wrote stays even if it fails after, so
-- everything is judged before the first write. What is written comes ready made: Lua is slow, commands are not.
-- ARGV: base, 1 for a claim, channel to announce on or empty, fence floor as the caller knows it or empty, tokens to raise it to
-- or empty, number of changes, of each its id and what is expected (N nothing, F nothing and that floor, or the version
-- with a space), number of new rows, of each its id, its occurrence and the number of its change; then commands until the
-- end: the command, its key, an option or empty, how many arguments, these.
local count = tonumber(ARGV[6])
local ids = {}
for i = 1, count do ids[i] = ARGV[5 + 2 * i] end
local states = many('HMGET', B .. 'state', ids)
local floor = tonumber(call('GET', B .. 'fence_floor') or 0)
local is_stopped = ARGV[2] == '1' and is_paused()
local fates, holds = {}, true
for i = 1, count do
  local state, expected = states[i], ARGV[6 + 2 * i]
  local is_right
  if not state then
    is_right = expected == 'N' or expected == 'F' and (ARGV[4] == '' or tonumber(ARGV[4]) == floor)
  elseif expected == '0 ' then
    is_right = not match(state, '^%d+ ')
  else
    is_right = sub(state, 1, #expected) == expected
  end
  if is_right and not is_stopped then
    fates[i] = 'W'
  else
    fates[i], holds = 'S', false
  end
end

local at = 7 + 2 * count
local rows = tonumber(ARGV[at])
local runs, occurrences = {}, {}
for i = 1, rows do
  runs[i], occurrences[i] = ARGV[at + 3 * i - 2], ARGV[at + 3 * i - 1]
end
local known_runs, known_occurrences = many('HMGET', B .. 'runs', runs), many('HMGET', B .. 'occurrences', occurrences)
for i = 1, rows do
  if known_runs[i] or known_occurrences[i] then
    local change = tonumber(ARGV[at + 3 * i])
    if fates[change] == 'W' then fates[change] = 'C' end
    holds = false
  end
end
if not holds then return table.concat(fates) end

at = at + 3 * rows + 1
while at <= #ARGV do
  local first, last = at + 4, at + 3 + ARGV[at + 3]
  if ARGV[at + 2] == '' then
    call(ARGV[at], B .. ARGV[at + 1], unpack(ARGV, first, last))
  else
    call(ARGV[at], B .. ARGV[at + 1], ARGV[at + 2], unpack(ARGV, first, last))
  end
  at = last + 1
end
if ARGV[5] ~= '' and tonumber(ARGV[5]) > floor then call('SET', B .. 'fence_floor', ARGV[5]) end
if ARGV[3] ~= '' then call('PUBLISH', ARGV[3], '') end
return table.concat(fates)
