-- What the partitions of a topic still hold.
-- KEYS: topic. ARGV: what the names of streams begin with.
-- Returns for each partition: the count of entries deleted, '1' if nothing is left, the first entry's
-- id, or the newest one that there was, its time or '', and the newest id.
local reply = {}
for partition = 0, tonumber(redis.call('HGET', KEYS[1], 'partitions') or '0') - 1 do
  local kept = find_kept(ARGV[1] .. partition)
      or { deleted = 0, is_empty = true, first = '0-0', time = '', newest = '0-0' }
  reply[#reply + 1] = tostring(kept.deleted)
  reply[#reply + 1] = kept.is_empty and '1' or '0'
  reply[#reply + 1] = kept.first
  reply[#reply + 1] = kept.time
  reply[#reply + 1] = kept.newest
end
return reply
