-- Reads records. ARGV: keys. Answers now, then the record of each; of fewer keys, if they are large.
local out = {NOW}
for o = 3, #A do
  out[#out + 1] = record(A[o])
  if answered > LARGE then break end
end
return out
