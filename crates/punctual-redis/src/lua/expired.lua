-- Rows of running runs whose lease has ended, but those of one node. ARGV: base, now or empty, node, limit.
local now, limit = whole(present(ARGV[2])), tonumber(ARGV[4])
local own = '"node":"' .. ARGV[3] .. '"'
local found, from = {}, 0
repeat
  local runs = call('ZRANGEBYSCORE', B .. 'leases', '-inf', now, 'LIMIT', from, 256)
  local rows = many('HMGET', B .. 'runs', runs)
  for i = 1, #runs do
    if rows[i] and not find(rows[i], own, 1, true) and #found < limit then found[#found + 1] = rows[i] end
  end
  from = from + 256
until #runs < 256 or #found == limit
return found
