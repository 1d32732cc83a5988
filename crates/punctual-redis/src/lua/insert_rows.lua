-- Inserts rows that are over and not there yet; returns how many. ARGV: base, then of each: id, text, state, occurrence, end
-- of the run, job.
local ROW = 6
local inserted = 0
for at = 2, #ARGV, ROW do
  local run, state = ARGV[at], ARGV[at + 2]
  local is_known = call('HEXISTS', B .. 'runs', run) == 1 or call('HEXISTS', B .. 'occurrences', ARGV[at + 3]) == 1
  if not is_known then
    call('HSET', B .. 'runs', run, ARGV[at + 1])
    call('HSET', B .. 'occurrences', ARGV[at + 3], run)
    call('ZADD', B .. 'of_job', 0, ARGV[at + 5] .. '\0' .. run)
    call('ZADD', B .. 'runs:' .. state, 0, run)
    call('ZADD', B .. 'ended:' .. state, ARGV[at + 4], run)
    inserted = inserted + 1
  end
end
return inserted
