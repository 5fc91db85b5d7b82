-- Records an instruction, or removes a rule. ARGV: rule, 1 and the instruction, or 0. The number of each is a token.
call('DEL', P..'-')
local rule, number = A[3], token()
call('HSET', P..'m', 'tok', number, 'v', '1')
if A[4] == '1' then
  call('HSET', P..'x', rule, A[5])
  call('ZADD', P..'xo', number, rule)
  call('PUBLISH', P..'xs', '+'..number..SEP..rule..SEP..A[5])
else
  call('HDEL', P..'x', rule)
  call('ZREM', P..'xo', rule)
  call('PUBLISH', P..'xs', '-'..number..SEP..rule..SEP)
end
return number
