-- Puts jobs where they belong among those that are due: an entry that does not say what the job says was left by a hand, or by
-- a job whose head could not be read. ARGV: base, then of each: class, id.
for at = 2, #ARGV, 2 do
  local class, id = ARGV[at], ARGV[at + 1]
  local text = call('HGET', B .. 'state', id)
  local version, wake, _, _, _, own_class
  if text then version, wake, _, _, _, own_class = head(text) end
  if not text or version and own_class ~= class then call('ZREM', B .. 'due:' .. class, id) end
  if version and wake == '-' then call('ZREM', B .. 'due:' .. own_class, id) end
  if version and wake ~= '-' then call('ZADD', B .. 'due:' .. own_class, wake, id) end
end
return 1
