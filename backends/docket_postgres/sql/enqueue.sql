-- Adds one task, the common case in as little as it takes. Answers the store's time where it is new, else as JSON what
-- `enqueue_1` says.
create or replace function docket.add_one_1(
  p_docket text, p_channel text, p_now bigint, p_replace boolean, p_key text, p_function text, p_payload bytea,
  p_run text, p_headers bytea, p_due bigint, p_delay bigint, p_attempt int)
returns text language plpgsql as $$
declare
  v_now bigint := docket.now_1(p_now);
  v_due bigint := coalesce(p_due, v_now + p_delay, v_now);
  v_ready bigint := greatest(v_due, v_now);
begin
  insert into docket.task (due, ready, seq, generation, attempt, delivery, state, docket, key, function, run, payload,
    headers)
  values (v_due, v_ready, nextval('docket.seq'), 1, p_attempt, 0, 1, p_docket, p_key, p_function, p_run, p_payload,
    p_headers)
  on conflict (docket, key) do nothing;
  if not found then
    return (select to_json(e) from docket.enqueue_1(p_docket, p_channel, p_now, p_replace, array[p_key],
      array[p_function], array[p_payload], array[p_run], array[p_headers], array[p_due], array[p_delay],
      array[p_attempt], null) e);
  end if;
  if v_due < v_now + 2500000 and p_channel is not null then
    perform pg_notify(p_channel, json_build_object(p_function, v_ready)::text);
  end if;
  if docket.watched_1(p_docket, 1) then
    perform docket.tell_states_1(p_docket, p_channel, v_now, array[p_key]);
  end if;
  return v_now;
end $$;

-- Adds tasks under keys that nobody has used, as they are the ids of their runs. Where one of them is there all the same,
-- as it was sent before, nothing is added and the error is a unique violation: `on conflict` costs a quarter of it all.
-- One function stands for all where only one is given; without headers they have none. Answers the store's time.
create or replace function docket.add_new_1(
  p_docket text, p_channel text, p_now bigint, p_keys text[], p_functions text[], p_payloads bytea[],
  p_headers bytea[], p_dues bigint[], p_delays bigint[], p_attempts int[], p_places int[])
returns bigint language plpgsql as $$
declare
  v_now bigint := docket.now_1(p_now);
  v_seqs bigint[] := array(select nextval('docket.seq') from generate_series(1, cardinality(p_keys)));
begin
  insert into docket.task (due, ready, seq, generation, attempt, delivery, state, docket, key, function, run, payload,
    headers)
  select x.due, greatest(x.due, v_now), v_seqs[x.place], 1, x.attempt, 0, 1, p_docket, x.key, x.function, x.key,
    x.payload, x.headers
  from (select u.key, coalesce(u.function, p_functions[1]) as function, u.payload, coalesce(u.headers, '') as headers,
      coalesce(u.attempt, 1) as attempt, coalesce(u.at, v_now + u.delay, v_now) as due,
      coalesce(u.place, u.position) as place
    from unnest(p_keys, p_functions, p_payloads, p_headers, p_dues, p_delays, p_attempts, p_places)
      with ordinality u(key, function, payload, headers, at, delay, attempt, place, position)) x;
  perform docket.hint_1(p_channel, jsonb_object_agg(y.function, y.at)) from (
    select x.function, min(greatest(x.due, v_now)) as at from (
      select coalesce(u.function, p_functions[1]) as function, coalesce(u.at, v_now + u.delay, v_now) as due
      from unnest(p_functions, p_dues, p_delays) u(function, at, delay)) x
    where x.due < v_now + 2500000 group by x.function) y;
  if docket.watched_1(p_docket, 1) then
    perform docket.tell_states_1(p_docket, p_channel, v_now, p_keys);
  end if;
  return v_now;
end $$;

-- Adds tasks. The keys are distinct and in byte order, the order of the locks; `p_places` says where in the order of the
-- call each task stands, which is the order in which claims find them; without it they stand as they are given, without
-- `p_attempts` at their first attempt; functions and headers as in `add_new_1`. Where all are new, one insert does it, and
-- the answer is one row without a key that says the store's time; else there is one row for each.
create or replace function docket.enqueue_1(
  p_docket text, p_channel text, p_now bigint, p_replace boolean, p_keys text[], p_functions text[], p_payloads bytea[],
  p_runs text[], p_headers bytea[], p_dues bigint[], p_delays bigint[], p_attempts int[],
  p_places int[])
returns table (key text, accepted boolean, run text, generation bigint, due bigint, state smallint)
language plpgsql as $$
#variable_conflict use_column
declare
  v_now bigint := docket.now_1(p_now);
  v_fresh int;
  v_seqs bigint[];
  v_keys text[] := p_keys;
  v_gates text[] := '{}';
begin
  v_seqs := array(select nextval('docket.seq') from generate_series(1, cardinality(p_keys)));
  p_headers := coalesce(p_headers, array_fill(''::bytea, array[cardinality(p_keys)]));
  if cardinality(p_functions) = 1 then
    p_functions := array_fill(p_functions[1], array[cardinality(p_keys)]);
  end if;
  with fresh as (
    insert into docket.task (due, ready, seq, generation, attempt, delivery, state, docket, key, function, run, payload,
      headers)
    select x.due, greatest(x.due, v_now), v_seqs[x.place], 1, x.attempt, 0, 1, p_docket, x.key, x.function, x.run,
      x.payload, x.headers
    from (select u.key, u.function, u.payload, u.run, u.headers, coalesce(u.attempt, 1) as attempt,
        coalesce(u.at, v_now + u.delay, v_now) as due, coalesce(u.place, u.position) as place
      from unnest(p_keys, p_functions, p_payloads, p_runs, p_headers, p_dues, p_delays, p_attempts, p_places)
        with ordinality u(key, function, payload, run, headers, at, delay, attempt, place, position)) x
    on conflict (docket, key) do nothing returning function, ready),
  hints as (select function, min(ready) as at from fresh where ready < v_now + 2500000 group by function)
  select (select count(*) from fresh),
    (select docket.hint_1(p_channel, jsonb_object_agg(function, at))::text from hints) into v_fresh;
  if v_fresh = cardinality(p_keys) then
    if docket.watched_1(p_docket, 1) then
      perform docket.tell_states_1(p_docket, p_channel, v_now, p_keys);
    end if;
    return query select null::text, true, null::text, 1::bigint, v_now, 1::smallint;
    return;
  end if;
  if not p_replace then -- a live task is kept as it is, so it is not locked: claims would pass over it
    v_keys := array(select k from unnest(p_keys) k left join lateral (
      select t.state from docket.task t where t.docket = p_docket and t.key = k limit 1) x on true
      where x.state is null or x.state > 2);
  end if;
  if docket.lock_tasks_1(p_docket, v_keys) then
    v_gates := docket.lock_gates_1(p_docket, v_keys, null);
  end if;
  v_now := docket.now_1(p_now);
  return query select a.* from
      unnest(p_keys, p_functions, p_payloads, p_runs, p_headers, p_dues, p_delays, p_attempts, p_places)
      with ordinality u(key, function, payload, run, headers, at, delay, attempt, place, position)
    cross join lateral docket.add_1(p_docket, v_now, p_replace, u.key, u.function, u.payload, u.run, u.headers,
      coalesce(u.at, v_now + u.delay, v_now), coalesce(u.attempt, 1), v_seqs[coalesce(u.place, u.position)]) a;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  perform docket.hint_pending_1(p_docket, p_channel, v_now, p_keys);
  perform docket.tell_states_1(p_docket, p_channel, v_now, p_keys);
end $$;

-- One task whose key may be in use.
create or replace function docket.add_1(
  p_docket text, p_now bigint, p_replace boolean, p_key text, p_function text, p_payload bytea, p_run text,
  p_headers bytea, p_due bigint, p_attempt int, p_seq bigint)
returns table (key text, accepted boolean, run text, generation bigint, due bigint, state smallint)
language plpgsql as $$
#variable_conflict use_column
declare
  r docket.task;
  a docket.aside;
  v_held boolean;
  v_kept boolean;
begin
  select t.* into r from docket.task t where t.docket = p_docket and t.key = p_key;
  while not found or p_replace or r.state > 2 loop
    select t.* into r from docket.task t where t.docket = p_docket and t.key = p_key for update;
    exit when found;
    insert into docket.task (due, ready, seq, generation, attempt, delivery, state, docket, key, function, run, payload,
      headers)
    values (p_due, greatest(p_due, p_now), p_seq, 1, p_attempt, 0, 1, p_docket, p_key, p_function,
      p_run, p_payload, p_headers)
    on conflict (docket, key) do nothing;
    if found then
      return query select p_key, true, p_run, 1::bigint, p_due, docket.seen_1(1::smallint, null, p_due, p_now);
      return;
    end if;
  end loop;
  if r.run = p_run and (r.state <= 2 or r.expires > p_now) then
    return query select p_key, true, r.run, r.generation, r.due, docket.seen_1(r.state, r.place, r.due, p_now);
    return;
  end if;
  if r.kept or r.held then
    select x.* into a from docket.aside x where x.docket = p_docket and x.key = p_key and x.run = p_run
      and (x.kind = 2 or x.expires > p_now);
    if found then
      return query select p_key, true, a.run, a.generation, a.due, (a.state + 10)::smallint;
      return;
    end if;
  end if;
  if r.state <= 2 and not p_replace then
    return query select p_key, false, r.run, r.generation, r.due, docket.seen_1(r.state, r.place, r.due, p_now);
    return;
  end if;
  v_held := r.held;
  v_kept := r.kept;
  if r.state > 2 and not r.held and r.expires <= p_now then -- retention has released all there was
    r.generation := 0;
    r.acked := null;
  end if;
  if r.state = 2 and r.lease > p_now then
    if r.gated then
      delete from docket.permit p where p.docket = p_docket and p.key = p_key and p.run = r.run and p.extend;
    end if;
    insert into docket.aside select 2::smallint, (r).*;
    v_held := true;
  elsif r.state <= 2 and r.gated then
    perform docket.free_run_1(p_docket, p_key, r.run, p_now);
  elsif r.state > 2 and r.expires > p_now then
    insert into docket.aside select 1::smallint, (r).*;
    v_kept := true;
  end if;
  update docket.task t set due = p_due, ready = greatest(p_due, p_now), seq = p_seq,
    generation = r.generation + 1, token = null, lease = null, takeover = null, started = null, ended = null,
    expires = null, acked = r.acked, parked = null, place = null, p_current = null, p_total = null, p_at = null, attempt = p_attempt,
    delivery = 0, state = 1, cancelling = false, gated = false, kept = v_kept, held = v_held, function = p_function,
    run = p_run, payload = p_payload, headers = p_headers, worker = null, result = null, error = null, reason = null,
    p_message = null, gate = null, request = null, places = null
  where t.docket = p_docket and t.key = p_key;
  return query select p_key, true, p_run, r.generation + 1, p_due, docket.seen_1(1::smallint, null, p_due, p_now);
end $$;

-- A state as readers see it: 10 scheduled, 11 queued, 12 running, 13 completed, 14 failed, 15 cancelled.
create or replace function docket.seen_1(p_state smallint, p_place bigint, p_due bigint, p_now bigint)
returns smallint language sql immutable as $$
  select (case when p_state > 1 then p_state + 10 when p_place is null and p_due <= p_now then 11 else 10 end)::smallint
$$;
