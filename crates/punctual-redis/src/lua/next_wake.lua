-- The first wake_at of some classes, or nothing. ARGV: base, number of jobs to step over, these, classes.
if is_paused() then return false end
local excepted, except = tonumber(ARGV[2]), {}
for i = 3, 2 + excepted do except[ARGV[i]] = true end
local first
for i = 3 + excepted, #ARGV do
  local found = call('ZRANGE', B .. 'due:' .. ARGV[i], 0, excepted, 'WITHSCORES')
  for j = 1, #found, 2 do
    if not except[found[j]] then
      local time = tonumber(found[j + 1])
      if not first or time < first then first = time end
      break
    end
  end
end
return first and whole(first)
