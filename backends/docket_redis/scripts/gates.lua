-- Gates. Of each gate:
--   g:<gate>    sorted set, holder -> expiry: what counts
--   gh:<gate>   hash, holder -> flags SEP key SEP run: also expired permits whose run is live; the field SEP is the limit
--   pf:<gate>   set of the functions that have tasks parked in front
--   p:<gate>SEP<function>   sorted set, key -> place
-- and of all: ge, gate -> earliest expiry; of each function: pw:<function>, gate -> lower bound of the next free permit.
-- Flags: b lives with the lease, e its denials extend, r taken by a claim for a parked task.
local gates = {} -- gates that may be forgotten, or whose earliest expiry changed
local LIMIT, END = SEP, '\30' -- END closes each permit in a part's list: gate SEP holder END

local function live_permits(gate) return call('ZCOUNT', P..'g:'..gate, '('..NOW, '+inf') end
local function free_permits(gate)
  return tonumber(call('HGET', P..'gh:'..gate, LIMIT) or 0) - live_permits(gate)
end
local function earliest_expiry(gate)
  local first = call('ZRANGEBYSCORE', P..'g:'..gate, '('..NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[2] and tonumber(first[2]) or nil
end
local function is_live(gate, holder)
  local expiry = tonumber(call('ZSCORE', P..'g:'..gate, holder) or 0)
  return expiry > now and expiry or nil
end

-- A permit may be free from `moment` on: those who wait for work of the parked functions are to look.
local function wake(gate, moment)
  gates[gate] = true
  for _, fn in ipairs(call('SMEMBERS', P..'pf:'..gate)) do
    call('ZADD', P..'pw:'..fn, 'LT', int(moment or now), gate)
    touched[fn] = true
  end
end

-- Sets the expiry of a permit; the lower bounds of the gate go with it if it comes earlier than it would have.
local function expire_at(gate, holder, expiry)
  local before = tonumber(call('ZSCORE', P..'g:'..gate, holder) or 0)
  call('ZADD', P..'g:'..gate, int(expiry), holder)
  gates[gate] = true
  if before > expiry then wake(gate, expiry) end
end

-- What has expired counts no more; it is remembered while its run is live. Answers how many had, of a portion.
local function expire_permits(gate, portion)
  local expired = call('ZRANGEBYSCORE', P..'g:'..gate, '-inf', NOW, 'LIMIT', 0, portion or 100)
  if #expired == 0 then return 0 end
  gates[gate] = true
  for _, holder in ipairs(expired) do
    call('ZREM', P..'g:'..gate, holder)
    local info = call('HGET', P..'gh:'..gate, holder)
    if info and string.match(info, '^%a*\31$') then call('HDEL', P..'gh:'..gate, holder) end
  end
  return #expired
end

local function set_limit(gate, limit)
  local before = call('HGET', P..'gh:'..gate, LIMIT)
  gates[gate] = true
  if before == limit then return end
  call('HSET', P..'gh:'..gate, LIMIT, limit)
  if before and tonumber(before) < tonumber(limit) then wake(gate) end
end

-- The permits that a part owns, as {gate, holder, flags}; another part may have taken the holder's since.
local function permits_of(key, part)
  local owned = {}
  for gate, holder in string.gmatch(part.pm or '', '([^\30\31]*)\31([^\30\31]*)\30') do
    local info = call('HGET', P..'gh:'..gate, holder)
    local flags, owner = string.match(info or '', '^(%a*)\31(.*)$')
    if owner == key..SEP..part.r then owned[#owned + 1] = {gate, holder, flags} end
  end
  return owned
end

local function put_permit(key, part, gate, holder, expiry, flags)
  expire_at(gate, holder, expiry)
  call('HSET', P..'gh:'..gate, holder, flags..SEP..key..SEP..part.r)
  local entry = gate..SEP..holder..END
  if not string.find(END..(part.pm or ''), END..entry, 1, true) then part.pm = (part.pm or '')..entry end
end

local function remove_permit(part, gate, holder)
  call('ZREM', P..'g:'..gate, holder)
  call('HDEL', P..'gh:'..gate, holder)
  local from, to = string.find(END..(part.pm or ''), END..gate..SEP..holder..END, 1, true)
  if from then part.pm = string.sub(part.pm, 1, from - 1)..string.sub(part.pm, to) end
  wake(gate)
end

-- The lease is over: what was bound to it is free.
local function lease_ended(key, part)
  if not part.pm then return end
  for _, permit in ipairs(permits_of(key, part)) do
    if string.find(permit[3], '[br]') then remove_permit(part, permit[1], permit[2]) end
  end
end

local function leave_gate(key, gate, fn)
  local parked = P..'p:'..gate..SEP..fn
  call('ZREM', parked, key)
  if call('EXISTS', parked) == 0 then
    call('SREM', P..'pf:'..gate, fn)
    call('ZREM', P..'pw:'..fn, gate)
  end
  gates[gate], touched[fn] = true, true
end

local function unpark(key, part)
  if part.s == 'p' then leave_gate(key, split(part.rq)[1], part.f) end
end

-- The run is over or replaced: only unexpired permits that outlive it stay.
local function run_ended(key, part)
  unpark(key, part)
  if not part.pm then return end
  for _, permit in ipairs(permits_of(key, part)) do
    local gate, holder, flags = permit[1], permit[2], permit[3]
    if string.find(flags, '[bre]') or not is_live(gate, holder) then
      remove_permit(part, gate, holder)
    else
      call('HSET', P..'gh:'..gate, holder, flags..SEP)
    end
  end
end

-- Puts a task in front of the gate of part.rq, at the place it has there or behind all others.
local function park(key, part)
  local request = split(part.rq)
  local gate, places, place = request[1], split(part.pl or ''), nil
  set_limit(gate, request[2])
  for i = 1, #places, 2 do
    if places[i] == gate then place = places[i + 1] end
  end
  if not place then
    place = token()
    part.pl = (part.pl or '')..gate..SEP..place..SEP
  end
  part.s, part.pk = 'p', NOW
  call('ZADD', P..'p:'..gate..SEP..part.f, place, key)
  call('SADD', P..'pf:'..gate, part.f)
  local next_free = free_permits(gate) > 0 and now or earliest_expiry(gate) or NEVER
  call('ZADD', P..'pw:'..part.f, int(next_free), gate)
  touched[part.f] = true
end

local function settle_gates()
  for gate in pairs(gates) do
    local first = call('ZRANGE', P..'g:'..gate, 0, 0, 'WITHSCORES')
    if first[2] then call('ZADD', P..'ge', first[2], gate) else call('ZREM', P..'ge', gate) end
    if call('HLEN', P..'gh:'..gate) <= 1 and call('EXISTS', P..'pf:'..gate) == 0 then
      call('DEL', P..'gh:'..gate)
    end
  end
  gates = {}
end
