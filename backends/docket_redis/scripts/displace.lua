-- Makes room for a newer live part: what is pending goes, what runs under a lease becomes a hold.
local function displace(key, live)
  if live.s == 'r' then
    call('ZREM', P..'l:'..live.f, key)
    touched[live.f] = true
    if live.c then call('ZREM', P..'lx', 'c'..key) end
    if tonumber(live.l) > now then
      for _, permit in ipairs(permits_of(key, live)) do
        if string.find(permit[3], 'e') then remove_permit(live, permit[1], permit[2]) end
      end
      call('RENAME', P..'t:'..key, P..'h:'..key)
      call('HSET', P..'h:'..key, 'pm', live.pm or '')
      call('ZADD', P..'lx', live.l, 'h'..key)
      return '1'
    end
  else
    unplace(key, live)
  end
  run_ended(key, live)
  call('DEL', P..'t:'..key)
  if live.x then call('DEL', blob(key, live.r)) end
  return live.H
end
