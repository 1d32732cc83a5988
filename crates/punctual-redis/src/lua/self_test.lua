-- One step from a number to the next, if it is the expected one; whether it was. ARGV: base, name, expected.
local key = B .. 'self_test:' .. ARGV[2]
if tonumber(call('GET', key) or 0) ~= tonumber(ARGV[3]) then return 0 end
call('SET', key, ARGV[3] + 1, 'PX', 60000)
return 1
