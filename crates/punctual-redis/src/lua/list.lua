-- A part of a list of jobs: members, states, definitions. ARGV: base, listed or ids, lexical start, limit, characters of a
-- member before its id.
local key, skip = B .. ARGV[2], tonumber(ARGV[5])
local members = call('ZRANGEBYLEX', key, ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local ids = {}
for i = 1, #members do ids[i] = sub(members[i], skip + 1) end
local states = many('HMGET', B .. 'state', ids)
for i = 1, #ids do
  local version, listed, _
  if states[i] then version, _, listed = head(states[i]) end
  -- Left by a hand, or by a job whose head could not be read.
  if not states[i] or version and skip > 0 and listed ~= sub(members[i], 1, skip) then
    call('ZREM', key, members[i])
    states[i] = false
  end
end
return { members, states, many('HMGET', B .. 'definitions', ids) }
