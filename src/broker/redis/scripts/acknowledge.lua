-- Moves a subscription's group forward, if the member still holds the partition.
-- KEYS: holders, stream. ARGV: partition, epoch and member as in holders, subscription, id, count
-- of entries up to it or ''. Returns 1, or 0 if the partition is no longer held.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
local command = { 'XGROUP', 'SETID', KEYS[2], ARGV[3], ARGV[4] }
if ARGV[5] ~= '' then
  command[6], command[7] = 'ENTRIESREAD', ARGV[5]
end
local moved = redis.pcall(unpack(command))
if moved.err then
  if not string.find(moved.err, 'NOGROUP', 1, true)
      and not string.find(moved.err, 'requires the key to exist', 1, true) then
    return moved
  end
  -- Somebody deleted the group or the stream.
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[3], ARGV[4], 'MKSTREAM')
end
return 1
