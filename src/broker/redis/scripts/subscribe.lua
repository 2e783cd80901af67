-- Makes a subscription if it is new. Of a topic that does not exist yet it will have everything.
-- KEYS: topic, subscriptions. ARGV: subscription, '0' or '$', what the names of streams begin
-- with.
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 then
  for partition = 0, tonumber(redis.call('HGET', KEYS[1], 'partitions') or '0') - 1 do
    ensure_group(ARGV[3] .. partition, ARGV[1], ARGV[2])
  end
end
return 'OK'
