-- Runs transactions, each all or nothing. One script call is atomic in Redis, so nothing comes
-- between a check and its writes.
--
-- KEYS: the key of each check and write, in order.
-- ARGV: the number of transactions; for each its number of checks and of writes;
--   for each check  "v" (plain key) or "f<field>", then "n" (nothing) or "s<value>";
--   for each write  "v" or "f<field>", then "n" (remove) or "s<value>", then the ttl in ms or "0".
-- Returns for each transaction 1 (done), 0 (a check did not hold) or the text of an error.
local k, a = 0, 1

local function take()
  a = a + 1
  return ARGV[a]
end

local function operand(text)
  if text:sub(1, 1) == 'n' then return nil end
  return text:sub(2)
end

local function read(key, place)
  if place == 'v' then return redis.pcall('GET', key) end
  return redis.pcall('HGET', key, place:sub(2))
end

local function write(key, place, value, ttl)
  if place ~= 'v' then
    if value then return redis.pcall('HSET', key, place:sub(2), value) end
    return redis.pcall('HDEL', key, place:sub(2))
  end
  if not value then return redis.pcall('DEL', key) end
  if ttl == '0' then return redis.pcall('SET', key, value) end
  return redis.pcall('SET', key, value, 'PX', ttl)
end

local results = {}
for t = 1, tonumber(ARGV[1]) do
  local checks, writes = tonumber(take()), tonumber(take())
  local result = 1
  for _ = 1, checks do
    k = k + 1
    local place, expected = take(), operand(take())
    if result == 1 then
      local found = read(KEYS[k], place)
      if type(found) == 'table' and found.err then
        result = found.err
      elseif (found or nil) ~= expected then
        result = 0
      end
    end
  end
  for _ = 1, writes do
    k = k + 1
    local place, value, ttl = take(), operand(take()), take()
    if result == 1 then
      local done = write(KEYS[k], place, value, ttl)
      -- Writes replace whole values, so no type can be wrong; hash fields are checked before. What
      -- fails here is a refusal of the whole script, such as missing permissions, at the first write.
      if type(done) == 'table' and done.err then result = done.err end
    end
  end
  results[t] = result
end
return results
