-- A worker that has nothing to do asks for the next task: the add of one hands it over (`swift_enqueue`). Only the latest
-- ask is kept. ARGV: ask worker lease span any functions...
-- Answers 1, or 0 if something can be claimed already.
call('DEL', P..'-')
local scores
if A[7] == '1' then
  scores = {call('ZRANGE', P..'nx', 0, 0, 'WITHSCORES')[2]}
else
  scores = call('ZMSCORE', P..'nx', unpack(A, 8))
end
for _, score in ipairs(scores) do
  if score and tonumber(score) <= now then return 0 end
end
call('HSET', P..'m', 'ask', table.concat({int(now + tonumber(A[6])), A[3], A[4], A[5], unpack(A, 7)}, SEP)..SEP)
return 1
