-- The first job after a given one that has more rows than are kept, among the next so many that have rows at all: it or
-- nothing, the last job looked at or nothing, the number of its rows. ARGV: base, job, how many to look at, rows kept.
local id = ARGV[2]
for _ = 1, tonumber(ARGV[3]) do
  local next = call('ZRANGEBYLEX', B .. 'of_job', '(' .. id .. '\1', '+', 'LIMIT', 0, 1)[1]
  if not next then return { false, false, 0 } end
  id = sub(next, 1, -18)
  local count = call('ZLEXCOUNT', B .. 'of_job', '[' .. id .. '\0', '(' .. id .. '\1')
  if count > tonumber(ARGV[4]) then return { id, id, count } end
end
return { false, id, 0 }
