-- Renews leases: for each run 0 lost, 1 kept, 2 kept and asked to stop. ARGV: base, now or empty, length of the lease,
-- then run and token, run and token.
local now = present(ARGV[2])
local till = whole(now + ARGV[3])
local runs = {}
for i = 4, #ARGV, 2 do runs[#runs + 1] = ARGV[i] end
local rows = many('HMGET', B .. 'runs', runs)
local ends = many('ZMSCORE', B .. 'leases', runs)
local answers, put, jobs = {}, {}, {}
for i = 1, #runs do
  local row = rows[i]
  answers[i] = 0
  -- A quote inside a JSON text has a backslash before it, so these are found nowhere but where they are meant.
  if row and ends[i] and match(row, '"fence":(%d+)') == ARGV[3 + 2 * i] and find(row, '"state":"running"', 1, true) then
    answers[i] = find(row, '"cancel_requested":true', 1, true) and 2 or 1
    put[#put + 1] = till
    put[#put + 1] = runs[i]
    -- Somebody may be about to take it over, by what was read before.
    if tonumber(ends[i]) <= now then jobs[#jobs + 1] = cjson.decode(row).job_id end
  end
end
bump(jobs)
for i = 1, #put, STEP do call('ZADD', B .. 'leases', 'XX', unpack(put, i, math.min(i + STEP - 1, #put))) end
return answers
