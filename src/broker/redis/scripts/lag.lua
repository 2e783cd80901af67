-- How far the subscriptions of a topic have got.
-- KEYS: topic, subscriptions. ARGV: what the names of streams begin with.
-- Returns for each subscription and partition: subscription, number, last entry acknowledged, last
-- entry of the stream, entries between, and of the oldest of them its id or '' and its time or ''.
-- Where the server cannot tell how many there are, the stream's length stands for it.
local reply = {}
local subscriptions = redis.call('SMEMBERS', KEYS[2])
table.sort(subscriptions)
for _, subscription in ipairs(subscriptions) do
  for partition = 0, tonumber(redis.call('HGET', KEYS[1], 'partitions') or '0') - 1 do
    local stream = ARGV[1] .. partition
    local group = find_group(stream, subscription)
    local acknowledged, newest, lag, id, time = '0-0', '0-0', '', '', ''
    if group then
      acknowledged = group['last-delivered-id']
      lag = group['lag'] and tostring(group['lag']) or ''
    end
    if redis.call('EXISTS', stream) == 1 then
      local info = redis.call('XINFO', 'STREAM', stream)
      for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then newest = info[i + 1] end
      end
      if lag == '' then lag = tostring(redis.call('XLEN', stream)) end
      if lag ~= '0' then
        local oldest = redis.call('XRANGE', stream, '(' .. acknowledged, '+', 'COUNT', '1')[1]
        if oldest then
          id = oldest[1]
          for i = 1, #oldest[2], 2 do
            if oldest[2][i] == 'ce_time' then time = oldest[2][i + 1] end
          end
        end
      end
    end
    for _, value in ipairs({ subscription, tostring(partition), acknowledged, newest, lag, id, time }) do
      reply[#reply + 1] = value
    end
  end
end
return reply
