-- Rows of the running runs of a node, some at a time: the run to go on after or nothing, then the rows and the ends of their
-- leases. ARGV: base, node, lexical start.
local own = '"node":"' .. ARGV[2] .. '"'
local runs = call('ZRANGEBYLEX', B .. 'runs:running', ARGV[3], '+', 'LIMIT', 0, 1000)
local rows = many('HMGET', B .. 'runs', runs)
local ends = many('ZMSCORE', B .. 'leases', runs)
local answer, leases = {}, {}
for i = 1, #runs do
  if rows[i] and find(rows[i], own, 1, true) then
    answer[#answer + 1], leases[#leases + 1] = rows[i], ends[i]
  end
end
return { #runs == 1000 and runs[1000], answer, leases }
