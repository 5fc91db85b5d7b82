-- Renews leases. ARGV: lease, then key token of each. Answers R renewed, C renewed and to be cancelled, L lost.
call('DEL', P..'-')
local expires, out = now + tonumber(A[3]), {}
for o = 4, #A, 2 do
  local key, mine = A[o], A[o + 1]
  local name = P..'t:'..key
  local part, is_hold = load(name), false
  if not part or part.t ~= mine then
    name = P..'h:'..key
    part, is_hold = load(name), true
  end
  if not part or part.t ~= mine or tonumber(part.l) <= now then
    out[#out + 1] = 'L'
  else
    call('HSET', name, 'l', int(expires))
    if is_hold then call('ZADD', P..'lx', int(expires), 'h'..key)
    else
      call('ZADD', P..'l:'..part.f, int(expires + tonumber(part.v or 0)), key)
      touched[part.f] = true
      if part.c then call('ZADD', P..'lx', int(expires), 'c'..key) end
    end
    for _, permit in ipairs(part.pm and permits_of(key, part) or {}) do
      if string.find(permit[3], '[br]') then expire_at(permit[1], permit[2], expires) end
    end
    out[#out + 1] = part.c and 'C' or 'R'
  end
end
settle()
return out
