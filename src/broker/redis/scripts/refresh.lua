-- Renews a member of a subscription and decides what it holds. Every member computes the same
-- fair share from the names of those whose time has not run out. One that has more gives up
-- what it has finished with; one that has less takes what nobody living holds, and the epoch of
-- that rises.
-- KEYS: topic, members, holders, changes, subscriptions. ARGV: member, its time in ms, subscription, what the
-- names of streams begin with, then of each partition held: number, epoch, '1' if nothing of it
-- is unacknowledged.
-- Returns the id of the newest change, then for each partition held now: number, epoch, 'held',
-- 'leaving' or 'taken', and of those taken: the last entry acknowledged and the count of
-- entries up to it, or ''.
local me, subscription, prefix = ARGV[1], ARGV[3], ARGV[4]
-- Nothing to do, unless somebody deleted it.
redis.call('SADD', KEYS[5], subscription)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local changed = redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now) > 0
changed = redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), me) > 0 or changed
local names = redis.call('ZRANGE', KEYS[2], 0, -1)
table.sort(names)
local living, rank = {}, 0
for i, name in ipairs(names) do
  living[name] = true
  if name == me then rank = i - 1 end
end
local partitions = tonumber(redis.call('HGET', KEYS[1], 'partitions') or '0')
local fair = math.floor(partitions / #names)
if rank < partitions % #names then fair = fair + 1 end

local mine = {}
for i = 5, #ARGV, 3 do
  mine[tonumber(ARGV[i])] = { epoch = ARGV[i + 1], drained = ARGV[i + 2] == '1' }
end
local texts = redis.call('HGETALL', KEYS[3])
local holders = {}
for i = 1, #texts, 2 do holders[texts[i]] = texts[i + 1] end

-- First what an earlier process of this name took: nobody else takes what a living name has.
local held, inherited, free = {}, {}, {}
for partition = 0, partitions - 1 do
  local text = holders[tostring(partition)] or '0 '
  local epoch, holder = string.match(text, '^(%d+) (.*)$')
  local slot = { partition = partition, epoch = epoch, state = 'held' }
  if holder == me and mine[partition] and mine[partition].epoch == epoch then
    slot.drained = mine[partition].drained
    held[#held + 1] = slot
  elseif holder == me then
    inherited[#inherited + 1] = slot
  elseif not living[holder] then
    free[#free + 1] = slot
  end
end

local function set_holder(slot, name)
  redis.call('HSET', KEYS[3], slot.partition, slot.epoch .. ' ' .. name)
end

for i = #held, 1, -1 do
  if #held > fair and held[i].drained then
    set_holder(held[i], '')
    table.remove(held, i)
    changed = true
  end
end
for i = fair + 1, #held do held[i].state = 'leaving' end
for _, slots in ipairs({ inherited, free }) do
  for _, slot in ipairs(slots) do
    if #held < fair then
      slot.epoch = string.format('%.0f', tonumber(slot.epoch) + 1)
      slot.state = 'taken'
      set_holder(slot, me)
      held[#held + 1] = slot
    elseif slots == inherited then
      set_holder(slot, '')
      changed = true
    end
  end
end

local change
if changed then
  change = redis.call('XADD', KEYS[4], 'MAXLEN', '1', '*', 'subscription', subscription)
else
  local newest = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', '1')
  change = newest[1] and newest[1][1] or '0-0'
end
local reply = { change }
for _, slot in ipairs(held) do
  local acknowledged, read = '', ''
  if slot.state == 'taken' then
    ensure_group(prefix .. slot.partition, subscription, '0')
    local group = find_group(prefix .. slot.partition, subscription)
    acknowledged = group['last-delivered-id']
    read = group['entries-read'] and tostring(group['entries-read']) or ''
  end
  for _, value in ipairs({ tostring(slot.partition), slot.epoch, slot.state, acknowledged, read }) do
    reply[#reply + 1] = value
  end
end
return reply
