-- Gives permits back. ARGV: of each key token gate holder. Answers R released, A absent, L lost.
call('DEL', P..'-')
local out = {}
for o = 3, #A, 4 do
  local key, mine, gate, holder = A[o], A[o + 1], A[o + 2], A[o + 3]
  local name = P..'t:'..key
  local part = load(name)
  if not part or part.t ~= mine or tonumber(part.l) <= now then
    out[#out + 1] = 'L'
  else
    local had, before = is_live(gate, holder), part.pm
    expire_permits(gate)
    remove_permit(part, gate, holder)
    if part.pm ~= before then call('HSET', name, 'pm', part.pm) end
    out[#out + 1] = had and 'R' or 'A'
  end
end
settle()
return out
