-- Removes what nobody needs any more. ARGV: how many at most. Answers how many.
call('DEL', P..'-')
local limit = tonumber(A[3])
local removed = end_lapsed(limit, {})
if removed < limit then removed = removed + expire_last(limit - removed) end
if removed < limit then
  for _, gate in ipairs(call('ZRANGEBYSCORE', P..'ge', '-inf', NOW, 'LIMIT', 0, limit - removed)) do
    local expired
    repeat
      expired = expire_permits(gate, math.min(limit - removed, 1000))
      removed = removed + expired
    until expired == 0 or removed >= limit
    if removed >= limit then break end
  end
end
call('ZREMRANGEBYSCORE', P..'cl', '-inf', int(now - 600 * 1000000))
if removed < limit then
  for _, worker in ipairs(call('ZRANGEBYSCORE', P..'wx', '-inf', NOW, 'LIMIT', 0, limit - removed)) do
    call('ZREM', P..'wx', worker)
    call('HDEL', P..'wf', worker)
    removed = removed + 1
  end
end
settle()
return removed
