-- The rules in force, oldest first. Answers the newest number given out, then rule and instruction of each.
local out = {int(last_token())}
for _, rule in ipairs(call('ZRANGE', P..'xo', 0, -1)) do
  local instruction = call('HGET', P..'x', rule)
  if instruction then
    out[#out + 1] = rule
    out[#out + 1] = instruction
  end
end
return out
