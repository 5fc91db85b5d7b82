-- Adds, as the scripts `enqueue` and `replace`. ARGV: policy (keep, replace), then 9 of each item: key function run kind due attempt long payload headers.
-- Answers now, then 5 of each item: A accepted or E exists, run, generation, when, state.
call('SETRANGE', P..'-', 0, '') -- changes nothing, but is refused when memory is full, and with it all of the script
local keep, out = A[3] == 'keep', {NOW}

local function answer(code, part, state)
  local at = #out
  out[at + 1], out[at + 2], out[at + 3], out[at + 4], out[at + 5] = code, part.r, part.g, part.w, state
end

-- A pending one whose entry somebody has deleted from the store is put back.
local function heal(key, live)
  if live.s ~= 'q' or live.H or not live.i then return end
  if #call('XRANGE', P..'q:'..live.f, live.i, live.i) == 0 then
    call('HSET', P..'t:'..key, 'i', place(live.f, key, tonumber(live.w)))
  end
end

for o = 4, #A, 9 do
  local key, task = A[o], {fn = A[o + 1], run = A[o + 2], attempt = A[o + 5], long = A[o + 6], payload = A[o + 7], headers = A[o + 8]}
  task.due, task.when = due_time(A[o + 3], A[o + 4])
  local live, last, hold
  if call('EXISTS', P..'t:'..key, P..'z:'..key, P..'h:'..key) > 0 then
    live, last, hold = load(P..'t:'..key), load_last(key), load(P..'h:'..key)
  end
  if live and live.r == task.run then answer('A', live, letter(live)); heal(key, live)
  elseif hold and hold.r == task.run then answer('A', hold, 'R')
  elseif last and last.r == task.run then answer('A', last, last.zs)
  elseif live and keep then answer('E', live, letter(live)); heal(key, live)
  else
    local any = live or last or hold or {}
    local number = generation(live, last, hold) + 1
    local held = hold and '1' or nil
    if live then held = displace(key, live) end -- never with keep: it is in the other script
    bear(key, task, number, {n = any.n, za = any.za, Z = last and last.x and last.r, H = held})
    answer('A', {r = task.run, g = int(number), w = task.when}, task.due <= now and 'Q' or 'S')
  end
end
settle()
return out
