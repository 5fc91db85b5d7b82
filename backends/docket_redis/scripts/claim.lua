-- Claims. ARGV: worker limit lease max_deliveries any ask functions...
-- Answers now, next_at or '', 11 of each claim in one list, 5 of each ended task in another; and for a task that was
-- handed over before, when that was.
call('DEL', P..'-') -- a write that frees comes first: then a full store drains
local worker, limit, lease, max, any = A[3], tonumber(A[4]), tonumber(A[5]), tonumber(A[6]), A[7] == '1'
local out, ended, leases, granted = {}, {}, {}, 0

local LEASED, LARGE = int(now + lease), 8 * 1024 * 1024
local size = 0 -- of the payloads so far: a claim ends early rather than answer very much

local function grant(key, part, parked)
  local delivery, recovery, mine = tonumber(part.d or 0) + 1, 0, token()
  if delivery > 1 and not (max and delivery >= max) then
    recovery = math.min(60, 2 ^ math.min(delivery - 2, 16)) * 1000000
  end
  if part.b or part.v or recovery > 0 or parked then -- seldom
    call('HSET', P..'t:'..key, 'b', '', 'v', recovery > 0 and int(recovery) or '')
    if parked then call('HSET', P..'t:'..key, 'pm', part.pm or '', 'pk', '') end
  end
  if part.pu then call('HDEL', P..'t:'..key, 'pc', 'pt', 'pg', 'pu') end
  call('HSET', P..'t:'..key, 's', 'r', 't', mine, 'l', LEASED, 'k', worker, 'u', NOW, 'd', delivery, 'i', '')
  local of = leases[part.f]
  if not of then of = {}; leases[part.f] = of end
  of[#of + 1], of[#of + 2] = recovery == 0 and LEASED or int(now + lease + recovery), key
  part.s, part.k, part.u = 'r', worker, NOW
  tell_state(key, part, 'R')
  local payload = part.x and (call('GET', blob(key, part.r)) or '') or whole(part, 'p')
  local at = #out
  out[at + 1], out[at + 2], out[at + 3], out[at + 4], out[at + 5] = key, part.g, mine, part.f, payload
  out[at + 6], out[at + 7], out[at + 8], out[at + 9] = whole(part, 'h'), part.r, part.w, int(delivery)
  out[at + 10], out[at + 11] = part.a or '1', part.x or ''
  granted, size = granted + 1, size + #payload
  if size > LARGE then limit = math.min(limit, granted) end
end

end_lapsed(50, ended)
settle()

-- Functions that have something to do now, the one that waits longest first, and of equal ones another one each time.
-- Others cost nothing, however many.
local asked, ready = {}, {}
if any then
  local scored = call('ZRANGEBYSCORE', P..'nx', '-inf', NOW, 'WITHSCORES', 'LIMIT', 0, 256)
  for i = 1, #scored, 2 do ready[#ready + 1] = {scored[i], tonumber(scored[i + 1])} end
else
  for from = 9, #A, 1000 do
    local names = {}
    for i = from, math.min(from + 999, #A) do names[#names + 1] = A[i]; asked[A[i]] = true end
    local scores = call('ZMSCORE', P..'nx', unpack(names))
    for i = 1, #names do
      if scores[i] and tonumber(scores[i]) <= now then ready[#ready + 1] = {names[i], tonumber(scores[i])} end
    end
  end
end
local fns = {}
if #ready > 0 then
  local turn = last_token() % #ready
  for i, one in ipairs(ready) do one[3] = (i + turn) % #ready end
  table.sort(ready, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[3] < b[3]) end)
  for i, one in ipairs(ready) do fns[i] = one[1] end
end
for _, fn in ipairs(fns) do touched[fn] = true end

-- Expired leases first.
local swept = 0
for _, fn in ipairs(fns) do
  for _, key in ipairs(call('ZRANGEBYSCORE', P..'l:'..fn, '-inf', NOW, 'LIMIT', 0, limit - granted + 50)) do
    local part = load(P..'t:'..key)
    local poison = part and max and tonumber(part.d or 0) >= max
    if part and not poison and not part.c and granted >= limit then break end
    if poison or (part and part.c) then swept = swept + 1 end
    if swept > 50 then break end
    call('ZREM', P..'l:'..fn, key)
    if part and part.c then
      call('ZREM', P..'lx', 'c'..key)
      finish(key, part, 'X', {'zw', 'cancelled'})
      for _, value in ipairs({key, fn, part.r, 'X', 'cancelled'}) do ended[#ended + 1] = value end
    elseif poison then
      local failure = 'granted '..part.d..' times without an end: its worker died or lost it each time'
      local outcome = {'zw', 'poison'}
      put(outcome, 'ze', '+'..failure)
      finish(key, part, 'F', outcome, failure)
      for _, value in ipairs({key, fn, part.r, 'F', 'poison'}) do ended[#ended + 1] = value end
    elseif part then
      local before = part.pm
      lease_ended(key, part)
      if part.pm ~= before then call('HSET', P..'t:'..key, 'pm', part.pm) end
      grant(key, part)
    end
  end
end

-- Parked tasks: of each gate the oldest places, as many as it has free permits.
local function wake_gate(gate)
  expire_permits(gate)
  local free, waiting = free_permits(gate), call('SMEMBERS', P..'pf:'..gate)
  while free > 0 and granted < limit do
    local oldest, key, of
    for _, fn in ipairs(waiting) do
      if any or asked[fn] then
        local first = call('ZRANGE', P..'p:'..gate..SEP..fn, 0, 0, 'WITHSCORES')
        if first[2] and (not oldest or tonumber(first[2]) < oldest) then
          oldest, key, of = tonumber(first[2]), first[1], fn
        end
      end
    end
    if not key then break end
    local part = load(P..'t:'..key)
    if part and part.s == 'p' then
      local request = split(part.rq)
      unpark(key, part)
      if not is_live(gate, request[3]) then
        put_permit(key, part, gate, request[3], now + lease,
          'r'..(request[5] == '1' and 'b' or '')..(request[6] == '1' and 'e' or ''))
        free = free - 1
      end
      grant(key, part, true)
    else -- its record was deleted by somebody else
      leave_gate(key, gate, of)
    end
  end
  for _, fn in ipairs(call('SMEMBERS', P..'pf:'..gate)) do
    if free <= 0 then call('ZADD', P..'pw:'..fn, int(earliest_expiry(gate) or NEVER), gate) end
    touched[fn] = true
  end
end
local looked, seen = 0, {}
for _, fn in ipairs(fns) do
  if (granted > 0 and granted >= limit) or looked >= 64 then break end -- with limit 0 it still learns when they are free
  for _, gate in ipairs(call('ZRANGEBYSCORE', P..'pw:'..fn, '-inf', NOW, 'LIMIT', 0, 64 - looked)) do
    if not seen[gate] then
      seen[gate] = true
      looked = looked + 1
      wake_gate(gate)
    end
  end
end

-- What has become due while nothing was ready is the oldest there is: it needs no place in the stream first.
local function take_due(fn, room)
  local taken = 0
  for _, key in ipairs(call('ZRANGEBYSCORE', P..'s:'..fn, '-inf', NOW, 'LIMIT', 0, room)) do
    if granted >= limit then break end
    local part = load(P..'t:'..key)
    if part and part.s == 'q' and not (part.i or part.b or part.H) then grant(key, part) end
    taken = taken + 1
  end
  if taken > 0 then call('ZREMRANGEBYRANK', P..'s:'..fn, 0, taken - 1) end
end

-- Ready tasks: an equal share for each function, then what is left. Released ones keep their place in front.
local function take(fn, room)
  local released = call('ZRANGE', P..'b:'..fn, 0, room - 1)
  if #released > 0 then
    call('ZREMRANGEBYRANK', P..'b:'..fn, 0, #released - 1)
    for _, key in ipairs(released) do
      local part = load(P..'t:'..key)
      if part and part.b then grant(key, part) end
    end
    room = math.min(room - #released, limit - granted)
  end
  if room <= 0 then return end
  if call('EXISTS', P..'q:'..fn) == 0 then return take_due(fn, room) end
  promote(fn, 100)
  local entries = call('XRANGE', P..'q:'..fn, '-', '+', 'COUNT', room)
  if #entries == 0 then return end
  local last
  for _, entry in ipairs(entries) do
    if granted >= limit then break end
    local part = load(P..'t:'..entry[2][2])
    if part and part.i == entry_id(entry[1]) then grant(entry[2][2], part) end
    last = entry[1]
  end
  if not last then return end
  local time, number = string.match(last, '(%d+)-(%d+)')
  call('XTRIM', P..'q:'..fn, 'MINID', '=', time..'-'..int(number + 1))
end
for round = 1, 2 do
  for i, fn in ipairs(fns) do
    local room = limit - granted
    if room <= 0 then break end
    take(fn, round == 1 and math.ceil(room / (#fns - i + 1)) or room)
  end
end

for fn, scored in pairs(leases) do
  in_portions('ZADD', P..'l:'..fn, scored)
  touched[fn] = true
end
settle()

local next_at = head(P..'lx')
local function earlier(score)
  if score and tonumber(score) < NEVER and (not next_at or tonumber(score) < next_at) then next_at = tonumber(score) end
end
if any then earlier(head(P..'nx'))
else
  for from = 9, #A, 1000 do
    for _, score in ipairs(call('ZMSCORE', P..'nx', unpack(A, from, math.min(from + 999, #A)))) do earlier(score) end
  end
end
return {NOW, next_at and int(next_at) or '', out, ended}
