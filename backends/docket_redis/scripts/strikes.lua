-- The rules in force, oldest first. Answers the newest number given out, then rule, instruction and number of each.
local out = {int(last_token())}
local rules = call('ZRANGE', P..'xo', 0, -1, 'WITHSCORES')
for i = 1, #rules, 2 do
  local instruction = call('HGET', P..'x', rules[i])
  if instruction then
    out[#out + 1] = rules[i]
    out[#out + 1] = instruction
    out[#out + 1] = int(rules[i + 1])
  end
end
return out
