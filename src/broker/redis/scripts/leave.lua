-- Frees what a member holds. A process that has taken its name over stays a member.
-- KEYS: members, holders, changes. ARGV: member, subscription, then of each partition held: number,
-- epoch and member as in holders.
for i = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', KEYS[2], ARGV[i], string.match(ARGV[i + 1], '^(%d+ )'))
  end
end
local holders, held = redis.call('HVALS', KEYS[2]), false
for _, text in ipairs(holders) do
  held = held or string.match(text, '^%d+ (.*)$') == ARGV[1]
end
if not held then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '1', '*', 'subscription', ARGV[2])
return 'OK'
