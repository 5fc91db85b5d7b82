-- Ends claims. ARGV: of each item key generation token verdict, and by verdict
--   C complete, F fail, X cancel: names of the outcome's fields among r e w, then their values; then successor 0 or 1,
--     and if 1: function run kind due attempt long payload headers
--   R retry: kind due attempt    O postpone: the same    L release: nothing    P park: gate limit holder ttl bound extend
-- Answers one letter of each item: A acked, G gone, S superseded, L lost.
call('DEL', P..'-') -- a write that frees comes first: then a full store drains
local o, out = 3, {}
local RUNNING_FIELDS = {'t', 'l', 'k', 'u', 'v', 'd', 'pc', 'pt', 'pg', 'pu'}

local function next_value()
  o = o + 1
  return A[o - 1]
end

local function parse(key)
  local item = {verdict = next_value()}
  local verdict = item.verdict
  if verdict == 'C' or verdict == 'F' or verdict == 'X' then
    item.outcome = {}
    for name in string.gmatch(next_value(), '%a') do
      local value = next_value()
      put(item.outcome, 'z'..name, value)
      if name == 'e' then item.failure = string.sub(value, 2) end
    end
    if next_value() == '1' then
      local task = {fn = next_value(), run = next_value()}
      local kind, due = next_value(), next_value()
      task.due, task.when = due_time(kind, due)
      task.attempt, task.long, task.payload, task.headers = next_value(), next_value(), next_value(), next_value()
      item.successor = task
    end
  elseif verdict == 'R' or verdict == 'O' then
    local kind, due = next_value(), next_value()
    item.due, item.when = due_time(kind, due)
    item.attempt = next_value()
  elseif verdict == 'P' then
    local request = {}
    for i = 1, 6 do request[i] = next_value() end
    item.gate, item.request = request[1], table.concat(request, SEP)..SEP
  end
  return item
end

-- Makes the running part pending again. The fields that are set afterwards may stand among those removed.
local function pend(key, part, removed, fields)
  local live = P..'t:'..key
  call('HDEL', live, unpack(removed))
  fields[#fields + 1] = 'e'; fields[#fields + 1] = stamp()
  call('HSET', live, unpack(fields))
  local shown = load(live)
  tell_state(key, shown, letter(shown))
end

local function give_back(key, part, token_text)
  lease_ended(key, part)
  local removed, delivery = {unpack(RUNNING_FIELDS)}, tonumber(part.d) - 1
  local fields = {'za', token_text, 'pm', part.pm or ''}
  if delivery > 0 then fields[#fields + 1] = 'd'; fields[#fields + 1] = int(delivery) end
  if part.rq then
    park(key, part)
    for _, name in ipairs({'s', 'pk', 'pl'}) do fields[#fields + 1] = name; fields[#fields + 1] = part[name] end
  else
    local order = part.o or token_text
    call('ZADD', P..'b:'..part.f, order, key)
    for _, value in ipairs({'s', 'q', 'b', '1', 'o', order}) do fields[#fields + 1] = value end
  end
  pend(key, part, removed, fields)
end

local function put_off(key, part, item, token_text)
  lease_ended(key, part)
  local removed = {unpack(RUNNING_FIELDS)}
  for _, name in ipairs({'o', 'pk', 'a'}) do removed[#removed + 1] = name end
  local fields = {'za', token_text, 'pm', part.pm or '', 'g', int(tonumber(part.g) + 1)}
  local function set(name, value) fields[#fields + 1] = name; fields[#fields + 1] = value end
  if item.verdict == 'P' then
    part.rq = item.request
    park(key, part)
    set('s', 'p'); set('pk', part.pk); set('pl', part.pl); set('rq', part.rq); set('a', part.a or '')
  else
    removed[#removed + 1] = 'pl'
    removed[#removed + 1] = 'rq'
    set('s', 'q'); set('w', item.when); set('i', place(part.f, key, item.due))
    set('a', item.attempt == '1' and '' or item.attempt)
  end
  pend(key, part, removed, fields)
end

local function apply(key, part, item, token_text)
  unlease(part.f, key)
  if part.c then call('ZREM', P..'lx', 'c'..key) end
  if item.outcome then
    local successor = not part.c and item.successor or nil
    local outcome = item.outcome
    outcome[#outcome + 1] = 'za'; outcome[#outcome + 1] = token_text
    finish(key, part, item.verdict, outcome, item.failure, successor)
    if successor then
      bear(key, successor, tonumber(part.g) + 1,
        {n = part.n, za = token_text, Z = RETENTION > 0 and part.x and part.r or nil, H = part.H})
    end
  elseif part.c then
    finish(key, part, 'X', {'zw', 'cancelled', 'za', token_text})
  elseif item.verdict == 'L' then
    give_back(key, part, token_text)
  else
    put_off(key, part, item, token_text)
  end
end

while o <= #A do
  local key, number, token_text = next_value(), tonumber(next_value()), next_value()
  local item = parse(key)
  local live = load(P..'t:'..key)
  if live and live.t == token_text and live.za ~= token_text then
    apply(key, live, item, token_text)
    out[#out + 1] = 'A'
  else
    local last, hold = load_last(key), load(P..'h:'..key)
    local any = live or last or hold
    if not any then out[#out + 1] = 'G'
    elseif any.za == token_text then out[#out + 1] = 'A'
    elseif hold and hold.t == token_text then
      end_hold(key, hold)
      out[#out + 1] = 'S'
    elseif number < generation(live, last, hold) then out[#out + 1] = 'S'
    else out[#out + 1] = 'L' end
  end
end
expire_last(#out + 20)
settle()
return out
