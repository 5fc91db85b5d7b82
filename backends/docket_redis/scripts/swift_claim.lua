-- The only task that is ready, where nothing else is to be looked at, in as few steps as it takes, as `swift_enqueue`
-- does it: so is what a waiting worker claims. Whatever is out of the ordinary is left to the files that follow, before
-- anything is written. ARGV as in `claim`, and what is written and answered is what that would write and answer.
local P, A, call = KEYS[1], ARGV, redis.call
local now = tonumber(A[1])
if not now then
  local clock = call('TIME')
  now = clock[1] * 1000000 + clock[2]
end

local function whole(part, name)
  local value = part[name] or ''
  if #value ~= 64 then return value end
  for piece = 1, 5 do
    if not part[name..piece] then break end
    value = value..part[name..piece]
  end
  return value
end

local function record(key)
  local part, flat = {}, call('HGETALL', P..'t:'..key)
  for i = 1, #flat, 2 do
    if flat[i + 1] ~= '' then part[flat[i]] = flat[i + 1] end
  end
  return part
end

-- What it asked for before is over; if it was handed over and not heard of, it is this claim's.
if A[8] ~= '' then
  call('DEL', P..'-')
  local kept = call('HMGET', P..'m', 'ask', 'handed')
  if kept[1] and string.find(kept[1], '\31'..A[8]..'\31', 1, true) then
    call('HDEL', P..'m', 'ask')
  else
    local ask, key, token = string.match(kept[2] or '', '^([^\31]*)\31([^\31]*)\31(%d+)$')
    local part = ask == A[8] and record(key) or {}
    if part.s == 'r' and part.t == token and tonumber(part.l) > now then
      local NOW = string.format('%.0f', now)
      return {NOW, NOW,
        {key, part.g, token, part.f, whole(part, 'p'), whole(part, 'h'), part.r, part.w, '1', part.a or '1', ''}, {}, part.u}
    end
  end
end

-- The only function that has something to do, and the moment at which another one has.
local function only()
  local fn, others
  if A[7] == '1' then
    local first = call('ZRANGE', P..'nx', 0, 1, 'WITHSCORES')
    if first[2] and tonumber(first[2]) <= now then fn, others = first[1], tonumber(first[4]) end
    if others and others <= now then return nil end
  elseif #A > 8 and #A < 1000 then
    for i, score in ipairs(call('ZMSCORE', P..'nx', unpack(A, 9))) do
      score = tonumber(score or nil)
      if score and score <= now then
        if fn then return nil end
        fn = A[8 + i]
      elseif score and (not others or score < others) then
        others = score
      end
    end
  end
  return fn, others
end

local function head(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(first[2])
end

local fn, others = only()
local entries = fn and tonumber(A[4]) > 0 and call('XRANGE', P..'q:'..fn, '-', '+', 'COUNT', 2) or {}
if #entries == 1 and call('EXISTS', P..'b:'..fn) == 0 then
  local key = entries[1][2][2]
  local part = record(key)
  local entry = part.i == '=' and part.n or part.i
  local lapses, leased, due, woken = head(P..'lx'), head(P..'l:'..fn), head(P..'s:'..fn), head(P..'pw:'..fn)
  local soonest = math.min(lapses or now + 1, leased or now + 1, due or now + 1, woken or now + 1)
  local counts = call('PUBSUB', 'NUMSUB', P..'es', P..'ek')
  if part.s == 'q' and part.f == fn and string.gsub(entries[1][1], '%-0$', '') == entry and soonest > now
    and not (part.d or part.x or part.v or part.c or part.pm or part.pu) and counts[2] == 0 and counts[4] == 0 then
    local NOW, LEASED = string.format('%.0f', now), string.format('%.0f', now + A[5])
    call('DEL', P..'-')
    local token = string.format('%.0f', math.max(tonumber(call('HGET', P..'m', 'tok') or 0) + 1, now))
    call('HSET', P..'t:'..key, 's', 'r', 't', token, 'l', LEASED, 'k', A[3], 'u', NOW, 'd', 1, 'i', '')
    call('HSET', P..'m', 'tok', token, 'v', '1')
    call('DEL', P..'q:'..fn)
    call('ZADD', P..'l:'..fn, LEASED, key)
    local earliest = math.min(tonumber(LEASED), leased or 9e17, due or 9e17, woken or 9e17)
    call('ZADD', P..'nx', string.format('%.0f', earliest), fn)
    local next_at = math.min(earliest, others or 9e17, lapses or 9e17)
    return {NOW, string.format('%.0f', next_at),
      {key, part.g, token, fn, whole(part, 'p'), whole(part, 'h'), part.r, part.w, '1', part.a or '1', ''}, {}}
  end
end
