-- Cancels. ARGV: keys. Answers C cancelled, R requested, G gone.
call('DEL', P..'-')
local out = {}

local function request(name, key, part)
  call('HSET', name, 'c', '1')
  if heard('c') then tell('c', key, part.g, part.t) end
end

for o = 3, #A do
  local key, asked = A[o], 'G'
  local hold, live = load(P..'h:'..key), load(P..'t:'..key)
  if hold and tonumber(hold.l) > now then
    request(P..'h:'..key, key, hold)
    asked = 'R'
  end
  if live and live.s == 'r' then
    request(P..'t:'..key, key, live)
    call('ZADD', P..'lx', live.l, 'c'..key)
    asked = 'R'
  elseif live then
    unplace(key, live)
    finish(key, live, 'X', {'zw', 'cancelled'})
    asked = 'C'
  end
  out[#out + 1] = asked
end
settle()
return out
