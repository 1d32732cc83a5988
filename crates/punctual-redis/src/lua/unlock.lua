-- Lets go of the lock over migrations, if it is still the caller's. ARGV: base, token.
if call('GET', B .. 'schema:lock') == ARGV[2] then call('DEL', B .. 'schema:lock') end
return 1
