-- Appends to a log; returns the position. ARGV: base, log, now or empty, text.
return call('RPUSH', B .. 'log:' .. ARGV[2], whole(present(ARGV[3])) .. ' ' .. ARGV[4])
