-- Moves a subscription's group back, if the member still holds the partition and the stream still
-- has everything that follows.
-- KEYS: holders, stream. ARGV: partition, epoch and member as in holders, subscription, id, the id
-- behind it. Returns a status: 'lost', 'deleted', or the count of entries up to the id, '' where it is
-- not known.
local function parts(id)
  local milliseconds, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(milliseconds), tonumber(number)
end

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 'lost'
end
local command = { 'XGROUP', 'SETID', KEYS[2], ARGV[3], ARGV[4] }
local read = ''
local kept = find_kept(KEYS[2])
if kept then
  local first_ms, first_number = parts(kept.first)
  local next_ms, next_number = parts(ARGV[5])
  local is_before = next_ms < first_ms or (next_ms == first_ms and next_number < first_number)
  if kept.deleted > 0 and is_before then
    return 'deleted'
  end
  if is_before or (next_ms == first_ms and next_number == first_number) then
    read = tostring(kept.deleted)
    command[6], command[7] = 'ENTRIESREAD', read
  end
end
redis.call(unpack(command))
return read
