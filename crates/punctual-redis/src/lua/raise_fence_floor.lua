-- ARGV: base, token.
if tonumber(ARGV[2]) > tonumber(call('GET', B .. 'fence_floor') or 0) then call('SET', B .. 'fence_floor', ARGV[2]) end
return 1
