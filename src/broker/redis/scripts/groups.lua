-- The consumer group as a list of names and values, or nil.
local function find_group(stream, name)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then
    if not string.find(groups.err, 'no such key', 1, true) then
      error(groups)
    end
    return nil
  end
  for _, fields in ipairs(groups) do
    local group = {}
    for i = 1, #fields, 2 do
      group[fields[i]] = fields[i + 1]
    end
    if group['name'] == name then
      return group
    end
  end
  return nil
end

-- Makes the group at `start` ('0' or '$') if there is none, with the count of entries that
-- lets the server tell its lag.
local function ensure_group(stream, name, start)
  if find_group(stream, name) then
    return
  end
  local added, length = 0, 0
  if redis.call('EXISTS', stream) == 1 then
    local info = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
      if info[i] == 'entries-added' then added = info[i + 1] end
      if info[i] == 'length' then length = info[i + 1] end
    end
  end
  local read = added
  if start == '0' then read = added - length end
  redis.call('XGROUP', 'CREATE', stream, name, start, 'MKSTREAM', 'ENTRIESREAD', read)
end

-- What a stream still has: how many entries were deleted, its newest id, and its first entry's id and
-- time, which are its newest id and '' where it is empty. Nothing where it does not exist.
local function find_kept(stream)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  local info = {}
  local fields = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #fields, 2 do
    info[fields[i]] = fields[i + 1]
  end
  local kept = {
    deleted = info['entries-added'] - info['length'],
    newest = info['last-generated-id'],
    first = info['last-generated-id'],
    is_empty = info['length'] == 0,
    time = '',
  }
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', '1')[1]
  if entry then
    kept.first = entry[1]
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'ce_time' then kept.time = entry[2][i + 1] end
    end
  end
  return kept
end
