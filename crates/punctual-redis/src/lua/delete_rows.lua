-- Forgets rows that are over; returns how many. ARGV: base, then of each: id, state, occurrence, job.
local deleted = 0
for at = 2, #ARGV, 4 do
  local run, state, occurrence = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  deleted = deleted + call('HDEL', B .. 'runs', run)
  call('ZREM', B .. 'runs:' .. state, run)
  call('ZREM', B .. 'ended:' .. state, run)
  call('ZREM', B .. 'of_job', ARGV[at + 3] .. '\0' .. run)
  if call('HGET', B .. 'occurrences', occurrence) == run then call('HDEL', B .. 'occurrences', occurrence) end
end
return deleted
