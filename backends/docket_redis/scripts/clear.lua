-- A portion of a clear. ARGV: mark or '' to begin, the entry of the index to go on after, how many keys to look at.
-- Answers mark, the last entry looked at or '' at the end, how many were cancelled. What becomes pending while a clear is
-- under way carries its mark.
call('DEL', P..'-')
local mark, after, cleared = A[3], A[4], 0
if mark == '' then mark = token() end
call('ZREMRANGEBYSCORE', P..'cl', '-inf', int(now - 600 * 1000000)) -- of those that were never brought to an end
call('ZADD', P..'cl', mark, mark)
local entries = call('XRANGE', P..'k', after == '' and '-' or '('..after, '+', 'COUNT', A[5])
for _, entry in ipairs(entries) do
  local key = entry[2][2]
  local part = load(P..'t:'..key)
  if part and part.s ~= 'r' and tonumber(part.e or 0) < tonumber(mark) then
    unplace(key, part)
    finish(key, part, 'X', {'zw', 'cleared'})
    cleared = cleared + 1
  elseif not part then -- ended, or its record was deleted by somebody else
    forget(key, entry[1])
  end
end
local done = #entries < tonumber(A[5])
if done then call('ZREM', P..'cl', mark) end
settle()
return {mark, done and '' or entries[#entries][1], cleared}
