-- Writes or deletes a document; whether it found what it expected. ARGV: base, namespace, key, what to expect (any, absent
-- or a version), 1 to write and 0 to delete, text, channel to announce on or empty.
local key, field, expect = B .. 'record:' .. ARGV[2], ARGV[3], ARGV[4]
local text = call('HGET', key, field)
local version = text and match(text, '^(%d+) ')
if expect == 'absent' and text or expect ~= 'absent' and expect ~= 'any' and version ~= expect then return 0 end
if ARGV[5] == '1' then
  call('HSET', key, field, whole((version or 0) + 1) .. ' ' .. ARGV[6])
else
  call('HDEL', key, field)
end
if ARGV[7] ~= '' then call('PUBLISH', ARGV[7], '') end
return 1
