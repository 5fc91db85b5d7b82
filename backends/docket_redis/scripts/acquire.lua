-- Takes permits. ARGV: of each group key token, how many requests, and of each: gate limit holder ttl bound extend.
-- Answers of each request status, until or '', gate. Status: G granted, H held, P lapsed, D denied, L lost.
call('DEL', P..'-')
local o, out = 3, {}

local function answer(status, expires, gate)
  local at = #out
  out[at + 1], out[at + 2], out[at + 3] = status, expires and int(expires) or '', gate
end

local function places_of(part)
  local fields, places = split(part.pl or ''), {}
  for i = 1, #fields, 2 do places[fields[i]] = fields[i + 1] end
  return places
end

-- How many parked tasks stand in front of `place`; of all, without a place.
local function ahead(gate, place)
  local count = 0
  for _, fn in ipairs(call('SMEMBERS', P..'pf:'..gate)) do
    local parked = P..'p:'..gate..SEP..fn
    count = count + (place and call('ZCOUNT', parked, '-inf', '('..place) or call('ZCARD', parked))
  end
  return count
end

-- Whether a request can be met: its status and the expiry it has already; nothing is written but the gate's limit.
local function judge(key, part, request, places, taken)
  local gate, holder = request[1], request[3]
  set_limit(gate, request[2])
  expire_permits(gate)
  local flags, owner = string.match(call('HGET', P..'gh:'..gate, holder) or '', '^(%a*)\31(.*)$')
  local expires = is_live(gate, holder)
  if expires then
    local reserved = owner == key..SEP..part.r and string.find(flags, 'r')
    return reserved and 'G' or 'H', expires
  end
  if free_permits(gate) - (taken[gate] or 0) <= ahead(gate, places[gate]) then return 'D' end
  taken[gate] = (taken[gate] or 0) + 1
  return owner and owner ~= '' and 'P' or 'G'
end

local function deny(request)
  local gate, expires = request[1], nil
  if request[6] == '1' then
    local pushed = now + tonumber(request[4])
    for _, holder in ipairs(call('ZRANGEBYSCORE', P..'g:'..gate, '('..NOW, '('..int(pushed))) do
      local info = call('HGET', P..'gh:'..gate, holder) or ''
      if not string.find(info, '^%a*[br]%a*\31') then call('ZADD', P..'g:'..gate, int(pushed), holder) end
    end
  end
  return earliest_expiry(gate)
end

-- A denied task holds nothing: two that were woken at two gates must not deny each other for ever.
local function free_reserved(key, part)
  for _, permit in ipairs(permits_of(key, part)) do
    if string.find(permit[3], 'r') then
      remove_permit(part, permit[1], permit[2])
      call('HSET', P..'t:'..key, 'pm', part.pm or '')
    end
  end
end

local function group(key, part, requests)
  local places, taken, statuses, expiries = places_of(part), {}, {}, {}
  for i, request in ipairs(requests) do
    statuses[i], expiries[i] = judge(key, part, request, places, taken)
    if statuses[i] == 'D' then
      local expires = deny(request)
      free_reserved(key, part)
      for _ = 1, #requests do answer('D', expires, request[1]) end
      return
    end
  end
  for i, request in ipairs(requests) do
    local bound, extend = request[5] == '1', request[6] == '1'
    local expires = expiries[i]
    if statuses[i] ~= 'H' then
      expires = bound and tonumber(part.l) or now + tonumber(request[4])
      put_permit(key, part, request[1], request[3], expires, (bound and 'b' or '')..(extend and 'e' or ''))
    end
    answer(statuses[i], expires, request[1])
  end
  call('HSET', P..'t:'..key, 'pm', part.pm or '', 'pl', '', 'rq', '')
end

while o <= #A do
  local key, mine, count, requests = A[o], A[o + 1], tonumber(A[o + 2]), {}
  o = o + 3
  for i = 1, count do
    requests[i] = {A[o], A[o + 1], A[o + 2], A[o + 3], A[o + 4], A[o + 5]}
    o = o + 6
  end
  local part = load(P..'t:'..key)
  if not part or part.t ~= mine or tonumber(part.l) <= now then
    for i = 1, count do answer('L', nil, requests[i][1]) end
  else
    group(key, part, requests)
  end
end
settle()
return out
