-- Counts live tasks. Answers of each function: name, scheduled, queued, running, parked.
local rows = {}
local function row(fn)
  rows[fn] = rows[fn] or {0, 0, 0, 0}
  return rows[fn]
end
local function add(fn, column, count) row(fn)[column] = row(fn)[column] + count end

for _, fn in ipairs(call('ZRANGE', P..'nx', 0, -1)) do
  local later = P..'s:'..fn
  local due = call('ZCOUNT', later, '-inf', NOW)
  add(fn, 1, call('ZCARD', later) - due)
  add(fn, 2, due + call('XLEN', P..'q:'..fn) + call('ZCARD', P..'b:'..fn))
  add(fn, 3, call('ZCARD', P..'l:'..fn))
  for _, gate in ipairs(call('ZRANGE', P..'pw:'..fn, 0, -1)) do
    add(fn, 4, call('ZCARD', P..'p:'..gate..SEP..fn))
  end
end
for _, member in ipairs(call('ZRANGE', P..'lx', 0, -1)) do
  if string.sub(member, 1, 1) == 'h' then -- a hold, and behind it a newer one that stands in no index
    local key = string.sub(member, 2)
    local hold, live = load(P..'h:'..key), load(P..'t:'..key)
    if hold and tonumber(hold.l) > now then add(hold.f, 3, 1) end
    if live and live.H then add(live.f, letter(live) == 'Q' and 2 or 1, 1) end
  end
end
local out = {}
for fn, counts in pairs(rows) do
  if counts[1] + counts[2] + counts[3] + counts[4] > 0 then
    local at = #out
    out[at + 1], out[at + 2], out[at + 3], out[at + 4], out[at + 5] = fn, counts[1], counts[2], counts[3], counts[4]
  end
end
return out
