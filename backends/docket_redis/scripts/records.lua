-- A record as it is answered: key, then of live, last and hold the flat hash and the
-- string it has outside, or ''.
local LARGE, answered = 8 * 1024 * 1024, 0 -- an answer ends early rather than grow very large
local function row(key, name)
  local flat = call('HGETALL', name)
  local run, long
  for i = 1, #flat, 2 do
    if flat[i] == 'r' then run = flat[i + 1] elseif flat[i] == 'x' then long = flat[i + 1] end
  end
  local outside = long == '1' and call('GET', blob(key, run)) or ''
  answered = answered + #outside
  return flat, outside
end

local function record(key)
  local live, live_blob = row(key, P..'t:'..key)
  local last, last_blob = row(key, P..'z:'..key)
  local hold, hold_blob = row(key, P..'h:'..key)
  return {key, live, live_blob, last, last_blob, hold, hold_blob}
end
