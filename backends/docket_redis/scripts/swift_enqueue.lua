-- One task that is ready at once under a key of which nothing is kept, in as few steps as it takes: to make the functions
-- of the files that follow takes as long as all of this. Whatever is out of the ordinary is left to them, before
-- anything is written. ARGV as in `enqueue`, and what is written is what `bear` and `settle` would write.
local P, A, call, pcall = KEYS[1], ARGV, redis.call, redis.pcall
local key, run, fn = A[4], A[6], A[5]
if #A == 12 and A[7] == 'n' and A[10] ~= '1'
  and call('EXISTS', P..'t:'..key, P..'z:'..key, P..'h:'..key, P..'cl') == 0 then
  local now, clock = tonumber(A[1]), nil
  if not now then
    clock = call('TIME')
    now = clock[1] * 1000000 + clock[2]
  end
  local NOW = string.format('%.0f', now)
  local counts = call('PUBSUB', 'NUMSUB', P..'es', P..'ek')
  if counts[2] == 0 and counts[4] == 0 and #call('ZRANGEBYSCORE', P..'s:'..fn, '-inf', NOW, 'LIMIT', 0, 1) == 0 then
    local id = string.format('%.0f', math.max(tonumber(call('HGET', P..'m', 'tok') or 0) + 1, now))
    if type(pcall('XADD', P..'k', id..'-0', 'k', key)) == 'string' then
      local entry = '='
      if type(pcall('XADD', P..'q:'..fn, id..'-0', 'k', key)) ~= 'string' then
        entry = string.gsub(call('XADD', P..'q:'..fn, '*', 'k', key), '%-0$', '')
      end
      local fields = {'s', 'q', 'r', run, 'f', fn, 'g', '1', 'w', NOW, 'n', id, 'i', entry}
      if A[9] ~= '1' then fields[#fields + 1] = 'a'; fields[#fields + 1] = A[9] end
      for at, name in ipairs({'p', 'h'}) do
        local value = A[10 + at]
        local size = #value > 384 and #value or 64
        for piece = 0, math.floor((#value - 1) / size) do
          fields[#fields + 1] = piece == 0 and name or name..piece
          fields[#fields + 1] = string.sub(value, piece * size + 1, (piece + 1) * size)
        end
      end
      call('HSET', P..'t:'..key, unpack(fields))
      call('HSET', P..'m', 'tok', id, 'v', '1')
      if tonumber(call('ZSCORE', P..'nx', fn) or now + 1) > now then
        call('ZADD', P..'nx', NOW, fn)
        call('PUBLISH', P..'w:'..fn, NOW..'\31'..fn)
        call('PUBLISH', P..'wa', NOW..'\31'..fn)
      end
      return {NOW, 'A', run, '1', NOW, 'Q'}
    end
  end
end
