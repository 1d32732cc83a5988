-- Lists a job last, if its version is this one. ARGV: base, id, version, the last place.
local id, last = ARGV[2], ARGV[4]
local text = call('HGET', B .. 'state', id)
if not text then return 0 end
local version, wake, listed, flag, count, class, from = head(text)
if version ~= ARGV[3] or flag == 't' or listed == last then return 0 end
if listed ~= '-' then call('ZREM', B .. 'listed', listed .. id) end
call('ZADD', B .. 'listed', 0, last .. id)
-- Whoever read it before must not take it from where it stood.
local heading = table.concat({ whole(version + 1), wake, last, flag, count }, ' ')
call('HSET', B .. 'state', id, heading .. '\n' .. class .. '\n' .. sub(text, from))
return 1
