-- A record's parts, each a hash: t:<key> live, z:<key> last, h:<key> hold. A part moves by RENAME, whole.
--   s q pending, p parked, r running    r run  f function  g generation  w when  a attempt (1)  d delivery (0)
--   p payload  h headers, in pieces   x: both are in the string d:<key>SEP<run>, because they are long
--   i entry in the stream q:<f>, = for the same as n  b: in the sorted set b:<f>; neither: in s:<f>, or nowhere while a hold (H) lives
--   o place among the released  t token  l lease end  k worker  u started  v recovery delay  c cancel requested
--   pm permits  pl places in gates  rq request  pk parked at  pc pt pg pu progress  n entry in the index k
--   e mark of the clear that was under way  za last acked token  Z run of the last part if it has x  gm newest generation
--   zs zc zx zr ze zw: of a last part, state, completed, expires, '+' and the result, '+' and the error, reason
-- Of each function: q:<f> stream, ready in order; s:<f> sorted by due time; b:<f> released, by place; l:<f> leases, by
-- the moment of takeover. Of all: nx, function -> earliest moment at which something of it can be claimed; lx, holds and
-- requested cancels by lease end; ex, last parts by expiry; k, stream of all keys; m, the token's high-water mark.
local touched = {} -- functions whose place in nx must be looked at again
local forgotten = false -- whether an entry of the index k was removed
local function blob(key, run) return P..'d:'..key..SEP..run end

-- What is due goes to the stream, in portions; true if there may be more.
local function promote(fn, portion)
  local later = P..'s:'..fn
  local due = call('ZRANGEBYSCORE', later, '-inf', NOW, 'LIMIT', 0, portion)
  if #due == 0 then return false end
  for _, key in ipairs(due) do
    if call('EXISTS', P..'t:'..key) == 1 then call('HSET', P..'t:'..key, 'i', append('q:'..fn, key)) end
  end
  call('ZREMRANGEBYRANK', later, 0, #due - 1)
  touched[fn] = true
  return #due == portion
end

-- Gives pending work its place; answers its entry in the stream, or ''.
local appended = {} -- functions whose stream has grown at its end, which matters only if nothing of them was ready
local function place(fn, key, due, fresh)
  if due <= now and not promote(fn, 100) then
    appended[fn] = true
    return append('q:'..fn, key, fresh)
  end
  touched[fn] = true
  call('ZADD', P..'s:'..fn, int(math.max(due, now)), key)
  return ''
end

local function head(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or nil
end

-- Brings nx up to date for the functions that were touched, and rings where something may be claimed earlier than known.
local function settle()
  if high then call('HSET', P..'m', 'tok', int(high), 'v', '1') end
  for fn in pairs(appended) do
    if not touched[fn] and tonumber(call('ZSCORE', P..'nx', fn) or NEVER) > now then touched[fn] = true end
  end
  for fn in pairs(touched) do
    local ready, earliest = P..'q:'..fn, nil
    local first = call('XRANGE', ready, '-', '+', 'COUNT', 1)[1]
    if first then earliest = math.min(now, tonumber(string.match(first[1], '%d+'))) -- entries are named by tokens, so by time
    else
      call('DEL', ready)
    end
    if call('EXISTS', P..'b:'..fn) == 1 then earliest = 0 end
    for _, kind in ipairs(earliest and {} or {'s:', 'l:', 'pw:'}) do
      local score = head(P..kind..fn)
      if score and (not earliest or score < earliest) then earliest = score end
    end
    local before = tonumber(call('ZSCORE', P..'nx', fn) or NEVER + NEVER)
    if not earliest then call('ZREM', P..'nx', fn)
    elseif earliest ~= before then
      call('ZADD', P..'nx', int(earliest), fn)
      if earliest < before then -- one bell for those who want this function, one for those who want any
        local message = int(earliest)..SEP..fn
        call('PUBLISH', P..'w:'..fn, message)
        call('PUBLISH', P..'wa', message)
      end
    end
  end
  touched, appended = {}, {}
  if forgotten and call('XLEN', P..'k') == 0 then call('DEL', P..'k') end
end

-- The key is kept no more if neither part is left.
local function forget(key, index)
  if index and call('EXISTS', P..'t:'..key, P..'z:'..key, P..'h:'..key) == 0 then
    call('XDEL', P..'k', index)
    forgotten = true
  end
end

local function drop_last(key, last)
  call('DEL', P..'z:'..key)
  call('ZREM', P..'ex', key)
  if last.x then call('DEL', blob(key, last.r)) end
  if call('EXISTS', P..'h:'..key) == 1 then call('HSET', P..'h:'..key, 'gm', last.g) end
  forget(key, last.n)
end

-- The last part, unless retention has released it.
local function load_last(key)
  local last = load(P..'z:'..key)
  if last and tonumber(last.zx) <= now then
    drop_last(key, last)
    return nil
  end
  return last
end

-- The newest generation of a key, by its parts.
local function generation(live, last, hold)
  return math.max(tonumber(live and live.g or 0), tonumber(last and last.g or 0),
    tonumber(hold and (hold.gm or hold.g) or 0))
end

local function due_time(kind, text)
  if kind == 'n' then return now, NOW end
  if kind == 'd' then local at = now + tonumber(text); return at, int(at) end
  return tonumber(text), text
end

local function set(fields, name, value)
  if value and value ~= '' then fields[#fields + 1] = name; fields[#fields + 1] = value end
end

-- Makes a call the live part of its key. `kept`: n, za, Z, H of what the key has.
local function bear(key, task, number, kept)
  local fresh = not kept.n and append('k', key)
  local index = kept.n or fresh
  local fields = {'s', 'q', 'r', task.run, 'f', task.fn, 'g', int(number), 'w', task.when, 'n', index}
  if task.attempt ~= '1' then set(fields, 'a', task.attempt) end
  if task.long == '1' then
    call('SET', blob(key, task.run), task.payload)
    set(fields, 'x', '1')
  else
    put(fields, 'p', task.payload)
    put(fields, 'h', task.headers)
  end
  set(fields, 'za', kept.za); set(fields, 'Z', kept.Z); set(fields, 'H', kept.H); set(fields, 'e', stamp())
  if not kept.H then
    local entry = place(task.fn, key, task.due, fresh)
    set(fields, 'i', entry == index and '=' or entry)
  end
  call('HSET', P..'t:'..key, unpack(fields))
  if heard('s') then
    local part = {s = 'q', r = task.run, g = int(number), w = task.when}
    tell_state(key, part, letter(part))
  end
end
