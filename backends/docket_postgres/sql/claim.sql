-- Takes up to p_limit ready tasks under a lease: lapsed ones, parked ones whose gate is free, then those whose time has
-- come. Rows of kind 0 are claims; 1 something that was ended instead (its state in `attempt`, the reason in `headers`);
-- the last row has kind 2, the store's time in `generation` and the next moment worth a claim in `due`.
create or replace function docket.claim_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_worker text, p_functions text[], p_limit int,
  p_lease bigint, p_max int)
returns table (kind smallint, key text, generation bigint, token bigint, function text, payload bytea, headers bytea,
  run text, due bigint, delivery int, attempt int, started bigint, lease bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  v_now bigint := docket.now_1(p_now);
  v_functions text[] := p_functions;
  v_due text[];
  v_heads bigint[];
  v_is_lapsed boolean;
  v_is_gated boolean;
  v_next bigint;
  v_sweep bigint;
  v_cancelled text[] := '{}';
  v_holds text[] := '{}';
  v_lapsed text[] := '{}';
  v_gates text[] := '{}';
  v_told boolean;
  v_got int := 0;
  v_tids tid[] := '{}';
  v_keys text[];
  v_count int;
  v_start bigint;
  v_share int;
  r docket.task;
  h docket.aside;
  v_gate text;
begin
  if v_functions is null then
    v_functions := docket.functions_1(p_docket);
  end if;
  -- What there is to do, all of one moment. Of these functions those that have something to claim, and where the ready
  -- tasks of each begin: what has been claimed leaves entries in the index until the next vacuum, so that much was read
  -- to get there, and to begin there again saves the second time. Within bounds: behind the leases that have ended there
  -- are as many entries.
  select x.due, x.heads, x.is_lapsed, x.is_gated, s.sweep, s.start, s.told
  into v_due, v_heads, v_is_lapsed, v_is_gated, v_sweep, v_start, v_told
  from (
    select array_agg(f.name) filter (where f.head is not null or f.is_lapsed or f.is_gated) as due,
      array_agg(f.head) filter (where f.head is not null or f.is_lapsed or f.is_gated) as heads,
      bool_or(f.is_lapsed) as is_lapsed, bool_or(f.is_gated) as is_gated
    from (
      select u.name, (
          select t.ready from docket.task t where t.docket = p_docket and t.function = u.name and t.state = 1
            and t.place is null and not t.held and t.ready <= v_now order by t.ready, t.seq limit 1) as head,
        exists (
          select 1 from docket.task t where t.docket = p_docket and t.function = u.name and t.state = 2
            and t.takeover <= v_now) as is_lapsed,
        exists (
          select 1 from docket.gate_fn g where g.docket = p_docket and g.function = u.name and g.wake <= v_now)
          as is_gated
      from unnest(v_functions) u(name) offset 0) f) x, (
    select least(
        (select t.lease from docket.task t where t.docket = p_docket and t.state = 2 and t.cancelling
          order by t.lease limit 1),
        (select a.lease from docket.aside a where a.docket = p_docket and a.kind = 2 order by a.lease limit 1)) as sweep,
      (select last_value from docket.token) as start,
      exists (
        select 1 from docket.watcher w where w.docket = p_docket and w.topics & 1 <> 0
          and w.until > (extract(epoch from clock_timestamp()) * 1000000)::bigint) as told) s;

  if v_sweep <= v_now then
    v_cancelled := array(select t.key from docket.task t where t.docket = p_docket and t.state = 2 and t.cancelling
      and t.lease <= v_now order by t.lease limit 50 for update skip locked);
    v_holds := array(select a.key from docket.aside a where a.docket = p_docket and a.kind = 2 and a.lease <= v_now
      order by a.lease limit 50);
    v_holds := array(select x.key from unnest(v_holds) k cross join lateral (
      select t.key from docket.task t where t.docket = p_docket and t.key = k for update skip locked) x);
  end if;
  if v_is_lapsed then
    v_lapsed := array(select x.key from unnest(v_due) f cross join lateral (
        select t.key from docket.task t where t.docket = p_docket and t.function = f and t.state = 2
          and t.takeover <= v_now order by t.takeover limit p_limit + 50 for update skip locked) x
      limit p_limit + 50);
  end if;
  if v_lapsed <> '{}' or v_cancelled <> '{}' or v_holds <> '{}' or v_is_gated then
    v_gates := docket.lock_gates_1(p_docket, v_lapsed || v_cancelled || v_holds,
      docket.gates_due_1(p_docket, coalesce(v_due, '{}'), v_now, 64));
  end if;

  if v_sweep <= v_now then
    for r in select t.* from unnest(v_cancelled) k cross join lateral (
        select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t loop
      perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cancelled', null);
      return query select * from docket.ended_1(r, 5, 'cancelled');
    end loop;
    for r in select t.* from unnest(v_holds) k cross join lateral (
        select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t
      where t.held and exists (select 1 from docket.aside a where a.docket = p_docket and a.key = t.key and a.kind = 2
        and a.lease <= v_now) loop
      h := docket.end_hold_1(p_channel, v_now, r);
      v_heads := null; -- it may stand in front of them
      return query select 1::smallint, h.key, h.generation, h.token, h.function, ''::bytea, 'superseded'::bytea, h.run,
        h.due, h.delivery, 5, h.started, h.lease;
      if r.state = 1 and r.ready <= v_now and (p_functions is null or r.function = any(p_functions))
        and not coalesce(r.function = any(v_due), false) then
        v_due := v_due || r.function;
      end if;
    end loop;
  end if;

  v_count := coalesce(cardinality(v_due), 0);
  if v_count > 0 and v_start < v_now - 1000000 then
    perform docket.rebase_1(v_now);
  end if;

  if v_lapsed <> '{}' then
    for r in select t.* from unnest(v_lapsed) k cross join lateral (
        select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t where t.state = 2 loop
      if r.delivery >= p_max then
        perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 4::smallint, null, format(
          'granted %s times without an end: its worker died or lost it each time', r.delivery), 'poison', null);
        return query select * from docket.ended_1(r, 4, 'poison');
      elsif r.cancelling then
        perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cancelled', null);
        return query select * from docket.ended_1(r, 5, 'cancelled');
      elsif v_got < p_limit then
        if r.gated then
          perform docket.free_bound_1(p_docket, r.key, r.run);
        end if;
        v_tids := v_tids || array(select t.ctid from docket.task t where t.docket = p_docket and t.key = r.key);
        v_got := v_got + 1;
      end if;
    end loop;
  end if;

  if v_gates <> '{}' and v_due is not null then
    for v_gate in select x.gate from (
        select g.gate, min(g.wake) as wake from unnest(v_gates) n cross join lateral (
          select y.* from docket.gate_fn y where y.docket = p_docket and y.gate = n and y.function = any(v_due) offset 0) g
        group by g.gate) x order by x.wake loop
      exit when v_got >= p_limit;
      v_keys := docket.wake_1(p_docket, v_gate, v_due, p_limit - v_got, v_now, v_now + p_lease);
      v_tids := v_tids || array(select x.ctid from unnest(v_keys) k cross join lateral (
        select t.ctid from docket.task t where t.docket = p_docket and t.key = k limit 1) x);
      v_got := cardinality(v_tids);
    end loop;
  end if;

  for v_pass in 1..2 loop
    for v_i in 0..v_count - 1 loop
      exit when v_got >= p_limit;
      v_share := case when v_pass = 1 then (p_limit - v_got + v_count - v_i - 1) / (v_count - v_i)
        else p_limit - v_got end;
      v_tids := v_tids || array(select t.ctid from docket.task t where t.docket = p_docket
        and t.function = v_due[1 + (v_i + v_start) % v_count] and t.state = 1 and t.place is null and not t.held
        and t.ready >= coalesce(v_heads[1 + (v_i + v_start) % v_count], 0) and t.ready <= v_now
        and (v_pass = 1 or t.ctid <> all(v_tids))
        order by t.ready, t.seq limit v_share for update skip locked);
      v_got := cardinality(v_tids);
    end loop;
    exit when v_count < 2 or v_got >= p_limit;
  end loop;
  if v_got > 0 then
    if v_told then
      v_keys := array(select t.key from unnest(v_tids) i cross join lateral (
        select q.key from docket.task q where q.ctid = i offset 0) t);
    end if;
    return query
      update docket.task t set state = 2, token = u.token, delivery = t.delivery + 1, worker = p_worker,
        started = v_now, lease = v_now + p_lease,
        takeover = v_now + p_lease + docket.recovery_1(t.delivery + 1, p_max),
        parked = null, place = null, p_current = null, p_total = null, p_message = null, p_at = null
      from (select i, nextval('docket.token') as token from unnest(v_tids) i) u
      where t.ctid = u.i
      returning 0::smallint, t.key, t.generation, t.token, t.function, t.payload, t.headers, t.run, t.due, t.delivery,
        t.attempt, t.started, t.lease;
    if v_told then
      perform docket.tell_states_1(p_docket, p_channel, v_now, v_keys);
    end if;
  end if;
  if v_gates <> '{}' then
    perform docket.settle_gates_1(p_docket, null, v_now, v_gates);
  end if;
  if v_got < p_limit or p_limit = 0 then -- when the next is due; a hold or a requested cancel needs no function
    select least(min(least(
        (select t.ready from docket.task t where t.docket = p_docket and t.function = f and t.state = 1
          and t.place is null and not t.held order by t.ready, t.seq limit 1),
        (select t.takeover from docket.task t where t.docket = p_docket and t.function = f and t.state = 2
          order by t.takeover limit 1),
        (select g.wake from docket.gate_fn g where g.docket = p_docket and g.function = f order by g.wake limit 1))),
      (select t.lease from docket.task t where t.docket = p_docket and t.state = 2 and t.cancelling
        order by t.lease limit 1),
      (select a.lease from docket.aside a where a.docket = p_docket and a.kind = 2 order by a.lease limit 1))
    into v_next from unnest(v_functions) f;
  else
    v_next := v_now;
  end if;
  return query select 2::smallint, null::text, v_now, null::bigint, null::text, null::bytea, null::bytea, null::text,
    v_next, null::int, null::int, null::bigint, null::bigint;
end $$;

-- The gates in front of which tasks of these functions are parked and that may have a free permit.
create or replace function docket.gates_due_1(p_docket text, p_functions text[], p_now bigint, p_limit int)
returns text[] language plpgsql as $$
begin
  return array(select x.gate from unnest(p_functions) f cross join lateral (
    select g.gate from docket.gate_fn g where g.docket = p_docket and g.function = f and g.wake <= p_now
    order by g.wake limit p_limit) x limit p_limit);
end $$;

-- The oldest parked tasks of a gate (locked), as many as it has free permits; the permits are taken, too.
create or replace function docket.wake_1(
  p_docket text, p_gate text, p_functions text[], p_room int, p_now bigint, p_until bigint)
returns text[] language plpgsql as $$
declare
  v_free int;
  v_keys text[];
begin
  select g.lim - (select count(*) from docket.permit p where p.docket = p_docket and p.gate = p_gate and p.until > p_now)
    into v_free from docket.gate g where g.docket = p_docket and g.name = p_gate;
  if coalesce(v_free, 0) <= 0 then
    return '{}';
  end if;
  v_free := least(v_free, p_room);
  v_keys := array(select x.key from unnest(p_functions) f cross join lateral (
      select t.key, t.place from docket.task t where t.docket = p_docket and t.gate = p_gate and t.function = f
        and t.state = 1 and t.place is not null order by t.place limit v_free for update skip locked) x
    order by x.place limit v_free);
  insert into docket.permit as p (docket, gate, holder, key, run, until, bound, extend, reserved)
    select distinct on (t.request ->> 'holder') p_docket, p_gate, t.request ->> 'holder', t.key, t.run, p_until,
      (t.request ->> 'bound')::boolean, (t.request ->> 'extend')::boolean, true
    from unnest(v_keys) k cross join lateral (
      select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t
    order by t.request ->> 'holder', t.place
  on conflict (docket, gate, holder) do update set key = excluded.key, run = excluded.run, until = excluded.until,
    bound = excluded.bound, extend = excluded.extend, reserved = true where p.until <= p_now;
  update docket.task t set gated = true from (
    select x.ctid as tid from unnest(v_keys) k cross join lateral (
      select y.ctid from docket.task y where y.docket = p_docket and y.key = k limit 1) x) u
  where t.ctid = u.tid and not t.gated;
  return v_keys;
end $$;

create or replace function docket.ended_1(r docket.task, p_state int, p_reason text)
returns table (kind smallint, key text, generation bigint, token bigint, function text, payload bytea, headers bytea,
  run text, due bigint, delivery int, attempt int, started bigint, lease bigint)
language sql immutable as $$
  select 1::smallint, r.key, r.generation, r.token, r.function, ''::bytea, convert_to(p_reason, 'UTF8'), r.run, r.due,
    r.delivery, p_state, r.started, r.lease
$$;

-- The functions that have anything live, by skipping through the indexes from one to the next.
create or replace function docket.functions_1(p_docket text) returns text[] language plpgsql as $$
declare
  v_all text[] := '{}';
  v_last text := '';
begin
  loop
    select least(
      (select t.function from docket.task t where t.docket = p_docket and t.function > v_last and t.state = 1
        and t.place is null and not t.held order by t.function limit 1),
      (select t.function from docket.task t where t.docket = p_docket and t.function > v_last and t.state = 2
        order by t.function limit 1),
      (select g.function from docket.gate_fn g where g.docket = p_docket and g.function > v_last
        order by g.function limit 1)) into v_last;
    exit when v_last is null;
    v_all := v_all || v_last;
  end loop;
  return v_all;
end $$;
