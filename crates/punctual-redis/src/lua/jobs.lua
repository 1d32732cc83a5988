-- What lies under some ids. ARGV: base, ids.
local ids = {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
return snapshots(ids)
