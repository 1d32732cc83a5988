-- Put before every script. ARGV[1] is what all keys begin with; it holds the hash tag, so that all of them share a slot.
local B = ARGV[1]
local call, match, find, sub = redis.call, string.match, string.find, string.sub

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

-- Makes what was read of these jobs stale: something of a live run changes that is not in the state.
local function bump(jobs)
  for i = 1, #jobs do
    local text = call('HGET', B .. 'state', jobs[i])
    local version = text and match(text, '^(%d+) ')
    if version then call('HSET', B .. 'state', jobs[i], whole(version + 1) .. sub(text, #version + 1)) end
  end
end
