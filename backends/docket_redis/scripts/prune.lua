-- Removes what nobody needs any more. ARGV: how many at most. Answers how many.
call('DEL', P..'-')
local limit = tonumber(A[3])
local removed = end_lapsed(limit, {})
if removed < limit then removed = removed + expire_last(limit - removed) end
if removed < limit then
  for _, gate in ipairs(call('ZRANGEBYSCORE', P..'ge', '-inf', int(now), 'LIMIT', 0, limit - removed)) do
    expire_permits(gate)
    removed = removed + 1
  end
end
if removed < limit then
  for _, worker in ipairs(call('ZRANGEBYSCORE', P..'wx', '-inf', int(now), 'LIMIT', 0, limit - removed)) do
    call('ZREM', P..'wx', worker)
    call('HDEL', P..'wf', worker)
    removed = removed + 1
  end
end
settle()
return removed
