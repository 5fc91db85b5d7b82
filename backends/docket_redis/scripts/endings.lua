-- How runs end, and what is left of them.
local function unplace(key, part)
  touched[part.f] = true
  if part.s == 'p' or part.H then return end -- a parked one is taken away by unpark
  if part.i then call('XDEL', P..'q:'..part.f, part.i)
  elseif part.b then call('ZREM', P..'b:'..part.f, key)
  else call('ZREM', P..'s:'..part.f, key) end
end

-- What a script takes out of l:<f> and puts into ex, it does in one go for all: with `written`.
local unleased, expiring = {}, {}
local function unlease(fn, key)
  local keys = unleased[fn]
  if keys then keys[#keys + 1] = key else unleased[fn] = {key} end
  touched[fn] = true
end
local function in_portions(command, name, values)
  for from = 1, #values, 2000 do call(command, name, unpack(values, from, math.min(from + 1999, #values))) end
end
local function written()
  for fn, keys in pairs(unleased) do in_portions('ZREM', P..'l:'..fn, keys) end
  if expiring[1] then in_portions('ZADD', P..'ex', expiring) end
  unleased, expiring = {}, {}
end

local EXPIRES = int(now + RETENTION)

-- Makes the live part the last one, or forgets it. `outcome`: flat fields; `failure`: the error text that events tell.
-- The caller has taken it out of its index.
local function finish(key, part, state, outcome, failure, successor)
  run_ended(key, part)
  local live = P..'t:'..key
  if RETENTION > 0 then
    if part.Z then call('DEL', blob(key, part.Z)) end
    local last = P..'z:'..key
    call('RENAME', live, last)
    call('HSET', last, 'zs', state, 'zc', NOW, 'zx', EXPIRES, unpack(outcome))
    if part.pm or part.pl then call('HDEL', last, 'pm', 'pl', 'rq') end
    expiring[#expiring + 1], expiring[#expiring + 2] = EXPIRES, key
  else
    call('DEL', live)
    if part.x then call('DEL', blob(key, part.r)) end
    if part.H then call('HSET', P..'h:'..key, 'gm', part.g) end
    if not successor then forget(key, part.n) end
  end
  tell_state(key, part, state, NOW, failure)
end

-- The replaced run is over: the newer one may be claimed.
local function end_hold(key, hold)
  call('ZREM', P..'lx', 'h'..key)
  run_ended(key, hold)
  call('DEL', P..'h:'..key)
  if hold.x then call('DEL', blob(key, hold.r)) end
  local live = load(P..'t:'..key)
  if not live then return forget(key, hold.n) end
  call('HSET', P..'t:'..key, 'H', '', 'i', place(live.f, key, tonumber(live.w)))
end

-- Ends holds, and running tasks with a requested cancel, whose lease has run out; adds them to `ended`; how many.
local function end_lapsed(portion, ended)
  local lapsed = call('ZRANGEBYSCORE', P..'lx', '-inf', NOW, 'LIMIT', 0, portion)
  for _, member in ipairs(lapsed) do
    local key = string.sub(member, 2)
    call('ZREM', P..'lx', member)
    if string.sub(member, 1, 1) == 'h' then
      local hold = load(P..'h:'..key)
      if hold then
        end_hold(key, hold)
        for _, value in ipairs({key, hold.f, hold.r, 'X', 'superseded'}) do ended[#ended + 1] = value end
      end
    else
      local part = load(P..'t:'..key)
      if part and part.s == 'r' and part.c then
        call('ZREM', P..'l:'..part.f, key)
        touched[part.f] = true
        finish(key, part, 'X', {'zw', 'cancelled'})
        for _, value in ipairs({key, part.f, part.r, 'X', 'cancelled'}) do ended[#ended + 1] = value end
      end
    end
  end
  return #lapsed
end

-- Removes last parts whose retention is over; how many.
local function expire_last(portion)
  written()
  local expired = call('ZRANGEBYSCORE', P..'ex', '-inf', NOW, 'LIMIT', 0, portion)
  for _, key in ipairs(expired) do
    local last = load(P..'z:'..key)
    if last then drop_last(key, last) else call('ZREM', P..'ex', key) end
  end
  return #expired
end

-- Brings all up to date that a script has changed.
local settle_functions = settle
local function settle()
  written()
  settle_gates()
  settle_functions()
end
