-- Notes on rows that a late result was refused. ARGV: base, when, runs.
local put, jobs = {}, {}
for i = 3, #ARGV do
  local row = call('HGET', B .. 'runs', ARGV[i])
  if row then
    -- Not decoded and encoded: Lua's numbers would lose digits.
    local noted, count = string.gsub(row, '"superseded_at":%-?%d+', '"superseded_at":' .. ARGV[2], 1)
    if count == 0 then noted = string.gsub(row, '}%s*$', ',"superseded_at":' .. ARGV[2] .. '}', 1) end
    put[#put + 1] = ARGV[i]
    put[#put + 1] = noted
    if find(row, '"state":"running"', 1, true) or find(row, '"state":"pending"', 1, true) then
      jobs[#jobs + 1] = cjson.decode(row).job_id
    end
  end
end
bump(jobs)
for i = 1, #put, STEP do call('HSET', B .. 'runs', unpack(put, i, math.min(i + STEP - 1, #put))) end
return #put / 2
