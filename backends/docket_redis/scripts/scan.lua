-- A portion of a scan. ARGV: wanted states as letters, the entry of the index to go on after, how many entries to look at,
-- how many records to answer. Answers now, the last entry looked at or '' at the end, and of each record its entry and rows.
local wanted, after, examined, limit = A[3], A[4], tonumber(A[5]), tonumber(A[6])
local entries = call('XRANGE', P..'k', after == '' and '-' or '('..after, '+', 'COUNT', examined)
local out, reached = {}, ''

local function is(state) return string.find(wanted, state, 1, true) end
local function matches(key)
  local live = load(P..'t:'..key)
  if live and is(letter(live)) then return true end
  local last = load(P..'z:'..key)
  if last and tonumber(last.zx) > now and is(last.zs) then return true end
  local hold = is('R') and load(P..'h:'..key)
  return hold and tonumber(hold.l) > now
end

for i, entry in ipairs(entries) do
  if #out >= limit * 2 or answered > LARGE then break end
  reached = i
  if matches(entry[2][2]) then
    out[#out + 1] = entry[1]
    out[#out + 1] = record(entry[2][2])
  end
end
local at_end = reached == '' or (reached == #entries and #entries < examined)
return {NOW, at_end and '' or entries[reached][1], out}
