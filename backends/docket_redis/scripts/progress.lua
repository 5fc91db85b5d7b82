-- Adds to progress. ARGV: of each key generation token increment total-or-'' and how the message changes: k keep, c clear,
-- s set, and the message. Answers R recorded, G gone, S superseded, L lost.
call('DEL', P..'-')
local out = {}
for o = 3, #A, 7 do
  local key, number, mine, how = A[o], tonumber(A[o + 1]), A[o + 2], A[o + 5]
  local live = load(P..'t:'..key)
  local last, hold
  if not live or live.t ~= mine then last, hold = load_last(key), load(P..'h:'..key) end
  if not (live or last or hold) then out[#out + 1] = 'G'
  elseif number < generation(live, last, hold) then out[#out + 1] = 'S'
  elseif not live or live.t ~= mine then out[#out + 1] = 'L'
  else
    local current = int(tonumber(live.pc or 0) + tonumber(A[o + 3]))
    local total = A[o + 4] ~= '' and A[o + 4] or live.pt or ''
    local message = live.pg or '' -- as it is kept: '+' and the text
    if how == 'c' then message = '' elseif how == 's' then message = '+'..A[o + 6] end
    call('HSET', P..'t:'..key, 'pc', current, 'pt', total, 'pg', message, 'pu', NOW)
    if heard('g') then tell('g', key, live.r, live.g, current, total, NOW, message) end
    out[#out + 1] = 'R'
  end
end
settle()
return out
