-- One task that is ready at once under a key of which nothing is kept, in as few steps as it takes: to make the functions
-- of the files that follow takes as long as all of this. Whatever is out of the ordinary is left to them, before
-- anything is written. ARGV as in `enqueue`, and what is written is what `bear` and `settle` would write; and if it goes to
-- a worker that has asked for it (`ask`), what `grant` would write too. Answers, instead of a list, in one string: the
-- state's letter, and when it is due, which is now; it is the key's first generation.
local P, A, call, pcall = KEYS[1], ARGV, redis.call, redis.pcall
local key, run, fn = A[4], A[6], A[5]
local later, found = P..'s:'..fn, 5
if #A == 12 and A[7] == 'n' and A[10] ~= '1' then
  found = call('EXISTS', P..'t:'..key, P..'z:'..key, P..'h:'..key, P..'cl', later)
end
if found == 0 or (found == 1 and call('EXISTS', later) == 1) then
  local now, clock = tonumber(A[1]), nil
  if not now then
    clock = call('TIME')
    now = clock[1] * 1000000 + clock[2]
  end
  local NOW = string.format('%.0f', now)
  local counts = call('PUBSUB', 'NUMSUB', P..'es', P..'ek')
  if counts[2] == 0 and counts[4] == 0
    and (found == 0 or #call('ZRANGEBYSCORE', later, '-inf', NOW, 'LIMIT', 0, 1) == 0) then
    local kept = call('HMGET', P..'m', 'tok', 'ask')
    local id = string.format('%.0f', math.max(tonumber(kept[1] or 0) + 1, now))
    if type(pcall('XADD', P..'k', id..'-0', 'k', key)) == 'string' then
      local fields = {'r', run, 'f', fn, 'g', '1', 'w', NOW, 'n', id}
      if A[9] ~= '1' then fields[11] = 'a'; fields[12] = A[9] end
      for at = 11, 12 do
        local name, value = at == 11 and 'p' or 'h', A[at]
        local size = #value > 384 and #value or 64
        for piece = 0, math.floor((#value - 1) / size) do
          fields[#fields + 1] = piece == 0 and name or name..piece
          fields[#fields + 1] = string.sub(value, piece * size + 1, (piece + 1) * size)
        end
      end
      local earliest = tonumber(call('ZSCORE', P..'nx', fn) or 9e17)
      if kept[2] and earliest > now then
        local till, ask, worker, lease, any, fns =
          string.match(kept[2], '^(%d+)\31([^\31]*)\31([^\31]*)\31(%d+)\31(%d)(\31.*)$')
        if till and tonumber(till) > now and (any == '1' or string.find(fns, '\31'..fn..'\31', 1, true)) then
          local token, until_ = string.format('%.0f', id + 1), now + lease
          local LEASED = string.format('%.0f', until_)
          local message = {ask, worker, NOW, LEASED, token, key, fn, run, A[9], #A[11], A[11]..A[12]}
          if call('PUBLISH', P..'a:'..string.match(ask, '^[^.]*'), table.concat(message, '\31')) > 0 then
            call('HSET', P..'t:'..key, 's', 'r', 't', token, 'l', LEASED, 'k', worker, 'u', NOW, 'd', 1, unpack(fields))
            call('HSET', P..'m', 'tok', token, 'v', '1', 'handed', ask..'\31'..key..'\31'..token)
            call('HDEL', P..'m', 'ask')
            call('ZADD', P..'l:'..fn, LEASED, key)
            if until_ < earliest then call('ZADD', P..'nx', LEASED, fn) end
            return 'R'..NOW
          end
          call('HDEL', P..'m', 'ask') -- whoever asked has gone
        end
      end
      local entry = '='
      if type(pcall('XADD', P..'q:'..fn, id..'-0', 'k', key)) ~= 'string' then
        entry = string.gsub(call('XADD', P..'q:'..fn, '*', 'k', key), '%-0$', '')
      end
      call('HSET', P..'t:'..key, 's', 'q', 'i', entry, unpack(fields))
      call('HSET', P..'m', 'tok', id, 'v', '1')
      if earliest > now then
        call('ZADD', P..'nx', NOW, fn)
        call('PUBLISH', P..'w:'..fn, NOW..'\31'..fn)
        call('PUBLISH', P..'wa', NOW..'\31'..fn)
      end
      return 'Q'..NOW
    end
  end
end
