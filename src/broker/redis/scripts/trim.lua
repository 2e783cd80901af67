-- Deletes from a stream what was added before a time and every group has behind it: what it
-- was given and did not acknowledge stays, also for groups of other programs.
-- KEYS: stream, subscriptions. ARGV: time in ms, most entries to delete. Returns how many it deleted.
local function parts(id)
  local milliseconds, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(milliseconds), tonumber(number)
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
-- A group that somebody deleted has acknowledged nothing.
for _, subscription in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  ensure_group(KEYS[1], subscription, '0')
end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
local milliseconds, number = tonumber(ARGV[1]), 0
for _, fields in ipairs(groups) do
  local group = {}
  for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
  local kept_ms, kept_number = parts(group['last-delivered-id'])
  kept_number = kept_number + 1
  if group['pending'] > 0 then
    kept_ms, kept_number = parts(redis.call('XPENDING', KEYS[1], group['name'])[2])
  end
  if kept_ms < milliseconds or (kept_ms == milliseconds and kept_number < number) then
    milliseconds, number = kept_ms, kept_number
  end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~',
  string.format('%.0f-%.0f', milliseconds, number), 'LIMIT', ARGV[2])
