-- What every script begins with: arguments, time, tokens, events. The loader puts the files of one script together.
-- KEYS[1] is the docket's prefix; every key of the docket begins with it, so all of them have one hash tag.
-- ARGV[1] is a test's clock or '', ARGV[2] the retention in microseconds. The rest is each script's own.
local P, A, call = KEYS[1], ARGV, redis.call
local SEP = '\31' -- no key, function, run, worker, gate or holder has control characters
local NEVER = 9e17 -- beyond the year 9999
local RETENTION = tonumber(A[2])
local now
if A[1] == '' then
  local clock = call('TIME') -- read once: it moves inside a script before Redis 7
  now = clock[1] * 1000000 + clock[2]
else
  now = tonumber(A[1])
end

local function int(number) return string.format('%.0f', number) end -- tostring() would print 1.76e+15
local NOW = int(now)

-- A hash as a table; an empty value is an absent field. nil if there is no such hash, or a damaged one.
local function load(key)
  local flat = call('HGETALL', key)
  if #flat == 0 then return nil end
  local record = {}
  for i = 1, #flat, 2 do
    if flat[i + 1] ~= '' then record[flat[i]] = flat[i + 1] end
  end
  if record.i == '=' then record.i = record.n end
  return record.s and record or nil
end

-- A hash keeps its small form as long as no field has more than 64 bytes, so that longer values stand in pieces:
-- name, name1, name2 …
local PIECE, PIECES = 64, 6
local function put(fields, name, value)
  if not value or value == '' then return end
  if #value > PIECE * PIECES then
    fields[#fields + 1] = name; fields[#fields + 1] = value
    return
  end
  for i = 0, math.floor((#value - 1) / PIECE) do
    fields[#fields + 1] = i == 0 and name or name..i
    fields[#fields + 1] = string.sub(value, i * PIECE + 1, (i + 1) * PIECE)
  end
end
local function whole(record, name)
  local value = record[name]
  if not value or #value ~= PIECE then return value or '' end
  for i = 1, PIECES - 1 do
    local piece = record[name..i]
    if not piece then break end
    value = value..piece
  end
  return value
end

local function split(text)
  local fields = {}
  for field in string.gmatch(text, '([^\31]*)\31') do fields[#fields + 1] = field end
  return fields
end

-- Tokens: strictly increasing, and never below the time, so that they survive a lost second of the store's log.
local high
local function last_token()
  return high or tonumber(call('HGET', P..'m', 'tok') or 0)
end
local function token()
  high = math.max(last_token() + 1, now)
  return int(high)
end

-- An entry's id without the '-0' that nearly all end with: a hash keeps it as a number then.
local function entry_id(id) return (string.gsub(id, '%-0$', '')) end

-- Appends a key to a stream. The entry's id is a token: `fresh`, if that is the newest.
local function append(stream, key, fresh)
  local id = fresh and high and fresh == int(high) and fresh or token()
  local added = redis.pcall('XADD', P..stream, id..'-0', 'k', key)
  if type(added) == 'string' then return id end
  return entry_id(call('XADD', P..stream, '*', 'k', key)) -- somebody has deleted the token's high-water mark
end

-- While a clear is under way, what becomes pending is stamped with its mark, and it passes over that. The marks stand in
-- the sorted set cl; of several the newest serves all.
local clearing
local function stamp()
  if clearing == nil then clearing = call('ZRANGE', P..'cl', -1, -1)[1] or '' end
  return clearing
end

-- Events are only published if somebody listens; each topic has a channel, and so has each key.
local listeners
local function heard(topic)
  if not listeners then
    local counts = call('PUBSUB', 'NUMSUB', P..'es', P..'eg', P..'ec', P..'ek')
    listeners = {s = tonumber(counts[2]), g = tonumber(counts[4]), c = tonumber(counts[6]), k = tonumber(counts[8])}
  end
  return listeners[topic] > 0 or listeners.k > 0
end
local function tell(topic, key, ...)
  local text = table.concat({topic, key, ...}, SEP)
  if listeners[topic] > 0 then call('PUBLISH', P..'e'..topic, text) end
  if listeners.k > 0 then call('PUBLISH', P..'e:'..key, text) end
end

-- The state a reader sees of a live part, as a letter.
local function letter(part)
  if part.s == 'r' then return 'R' end
  return part.s == 'q' and tonumber(part.w) <= now and 'Q' or 'S'
end

local function tell_state(key, part, state, completed, failure)
  if not heard('s') then return end
  local claimed = part.s == 'r'
  tell('s', key, part.r, part.g, state, part.w, claimed and part.k or '', claimed and part.u or '', completed or '',
    failure or '')
end
