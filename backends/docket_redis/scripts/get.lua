-- Reads records. ARGV: keys. Answers now, then the record of each.
local out = {NOW}
for o = 3, #A do out[#out + 1] = record(A[o]) end
return out
