-- Rows of the running runs of a node, among some, and the ends of their leases. ARGV: base, node, runs.
local own = '"node":"' .. ARGV[2] .. '"'
local runs = {}
for i = 3, #ARGV do runs[i - 2] = ARGV[i] end
local rows = many('HMGET', B .. 'runs', runs)
local ends = many('ZMSCORE', B .. 'leases', runs)
local answer, leases = {}, {}
for i = 1, #runs do
  if rows[i] and ends[i] and find(rows[i], own, 1, true) then
    answer[#answer + 1], leases[#leases + 1] = rows[i], ends[i]
  end
end
return { answer, leases }
