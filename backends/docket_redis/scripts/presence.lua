-- Workers. ARGV: beat worker ttl functions... | retire worker | list. Answers, to list, of each worker: name and last seen
-- SEP functions...
local what, worker = A[3], A[4]
if what == 'list' then
  local out = {}
  for _, name in ipairs(call('ZRANGEBYSCORE', P..'wx', '('..NOW, '+inf')) do
    out[#out + 1] = name
    out[#out + 1] = call('HGET', P..'wf', name) or ''
  end
  return out
end
call('DEL', P..'-')
if what == 'retire' then
  call('ZREM', P..'wx', worker)
  call('HDEL', P..'wf', worker)
  return 0
end
for _, name in ipairs(call('ZRANGEBYSCORE', P..'wx', '-inf', NOW, 'LIMIT', 0, 50)) do
  call('ZREM', P..'wx', name)
  call('HDEL', P..'wf', name)
end
call('ZADD', P..'wx', int(now + tonumber(A[5])), worker)
call('HSET', P..'wf', worker, table.concat({NOW, unpack(A, 6)}, SEP)..SEP)
return 1
