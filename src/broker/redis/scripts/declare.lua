-- Makes a topic and, for the subscriptions that wait for it, its consumer groups. Returns how
-- many partitions the topic has.
-- KEYS: topic, subscriptions, changes. ARGV: partitions, what the names of streams begin with.
local partitions = redis.call('HGET', KEYS[1], 'partitions')
if partitions then
  return tonumber(partitions)
end
redis.call('HSET', KEYS[1], 'partitions', ARGV[1])
for _, subscription in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  for partition = 0, tonumber(ARGV[1]) - 1 do
    ensure_group(ARGV[2] .. partition, subscription, '0')
  end
end
redis.call('XADD', KEYS[3], 'MAXLEN', '1', '*', 'topic', 'declared')
return tonumber(ARGV[1])
