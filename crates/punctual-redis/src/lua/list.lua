-- A part of a list of jobs. ARGV: base, listed or ids, lexical start, limit, characters of a member before its id.
local members = call('ZRANGEBYLEX', B .. ARGV[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local ids = {}
for i = 1, #members do ids[i] = sub(members[i], ARGV[5] + 1) end
return { members, many('HMGET', B .. 'state', ids), many('HMGET', B .. 'definitions', ids) }
