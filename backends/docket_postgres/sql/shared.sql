-- Functions that the others use. Every function's name carries the version of its meaning, so that two versions of the
-- library can work on one schema. `docket.` stands for the schema that the option `schema` names.
--
-- States: 1 pending (parked if it has a place), 2 running, 3 completed, 4 failed, 5 cancelled. Kinds of parts that stand
-- aside: 1 the last one of a key whose row is live again, 2 a hold. Times are microseconds since the epoch.
-- Rows of `task` are reached one by one (`cross join lateral (… for update)` or `limit 1` keep the planner from joining
-- another way round), or in the order of an index: never by a choice that depends on statistics. A plan that was made
-- while the table was empty would scan it whole, and it stays.
-- Locks are taken in one order everywhere: tasks by key, then gates by name; permits and gate_fn change under the gate's.

create or replace function docket.now_1(p_now bigint) returns bigint language sql volatile as $$
  select coalesce(p_now, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
$$;

create or replace function docket.recovery_1(p_delivery int, p_max int) returns bigint language sql immutable as $$
  select case when p_delivery <= 1 or p_delivery >= p_max then 0
    else least(60, power(2, least(p_delivery - 2, 16)))::bigint * 1000000 end
$$;

-- Brings the tokens' sequence up to the store's time. Under a lock and only from more than a second behind, so that
-- no token that is issued meanwhile can be overtaken: that would take a million of them in one second.
create or replace function docket.rebase_1(p_now bigint) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(1685021556, ('docket.token'::regclass)::oid::int);
  perform setval('docket.token', p_now) from docket.token where last_value < p_now - 1000000;
end $$;

-- Tells waiting workers: {function: when there is something to claim}. A long one says only that there is something.
create or replace function docket.hint_1(p_channel text, p_work jsonb) returns void language plpgsql as $$
begin
  if p_channel is not null and p_work is not null then
    perform pg_notify(p_channel, case when octet_length(p_work::text) < 7000 then p_work::text else '{}' end);
  end if;
end $$;

-- Locks the rows of these keys in the order of the keys; whether any of them concerns gates.
create or replace function docket.lock_tasks_1(p_docket text, p_keys text[]) returns boolean language plpgsql as $$
begin
  return (select coalesce(bool_or(x.gated), false) from (
    select u collate "C" as k from unnest(p_keys) u order by 1) s cross join lateral (
    select t.gated or t.gate is not null as gated from docket.task t where t.docket = p_docket and t.key = k
    for update) x);
end $$;

create or replace function docket.hint_pending_1(p_docket text, p_channel text, p_now bigint, p_keys text[])
returns void language plpgsql as $$
begin
  perform docket.hint_1(p_channel, jsonb_object_agg(x.function, x.at)) from (
    select t.function, min(t.ready) as at from unnest(p_keys) k cross join lateral (
      select q.* from docket.task q where q.docket = p_docket and q.key = k limit 1) t
    where t.state = 1 and t.place is null and not t.held and t.ready < p_now + 2500000
    group by t.function) x;
end $$;

-- Whether anybody listens to such events: 1 states, 2 progress.
create or replace function docket.watched_1(p_docket text, p_topic int) returns boolean language plpgsql as $$
begin
  return exists (select 1 from docket.watcher w where w.docket = p_docket and w.topics & p_topic <> 0
    and w.until > (extract(epoch from clock_timestamp()) * 1000000)::bigint);
end $$;

-- An event that is too long for a notification becomes the advice to look at the key.
create or replace function docket.tell_1(p_channel text, p_event jsonb) returns void language plpgsql as $$
begin
  if p_channel is not null then
    perform pg_notify(p_channel || case when p_event ->> 0 = 'c' then 'c' else 'e' end, case when octet_length(p_event::text) < 7000 then p_event::text
      else jsonb_build_array('k', p_event -> 1)::text end);
  end if;
end $$;

create or replace function docket.tell_state_1(p_channel text, p_now bigint, r docket.task)
returns void language plpgsql as $$
begin
  perform docket.tell_1(p_channel, jsonb_build_array('s', r.key, r.run, r.generation,
    case when r.state > 1 then r.state + 10 when r.place is null and r.due <= p_now then 11 else 10 end,
    r.due, r.worker, case when r.state > 1 then r.started end, case when r.state > 2 then r.ended end, r.error));
end $$;

create or replace function docket.tell_states_1(p_docket text, p_channel text, p_now bigint, p_keys text[])
returns void language plpgsql as $$
declare
  r docket.task;
begin
  if docket.watched_1(p_docket, 1) then
    for r in select t.* from unnest(p_keys) k cross join lateral (
        select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t loop
      perform docket.tell_state_1(p_channel, p_now, r);
    end loop;
  end if;
end $$;

create or replace function docket.lock_gate_rows_1(p_docket text, p_gates text[]) returns void language plpgsql as $$
begin
  perform 1 from (select distinct n collate "C" as name from unnest(p_gates) n order by 1) u cross join lateral (
    select 1 from docket.gate g where g.docket = p_docket and g.name = u.name for update) x;
end $$;

-- Locks the gates in which these keys have permits or a place, and the named ones; answers their names.
create or replace function docket.lock_gates_1(p_docket text, p_keys text[], p_more text[])
returns text[] language plpgsql as $$
declare
  v_gates text[];
begin
  v_gates := array(
    select p.gate from unnest(p_keys) k cross join lateral (
      select x.gate from docket.permit x where x.docket = p_docket and x.key = k offset 0) p
    union select t.gate from unnest(p_keys) k cross join lateral (
      select x.gate from docket.task x where x.docket = p_docket and x.key = k limit 1) t where t.gate is not null
    union select m from unnest(p_more) m where m is not null);
  if v_gates <> '{}' then
    perform docket.lock_gate_rows_1(p_docket, v_gates);
  end if;
  return v_gates;
end $$;

-- After a change in these gates, under their locks: when the next permit is free for those who are parked, and who is
-- to be told; a gate that nobody needs is removed.
create or replace function docket.settle_gates_1(p_docket text, p_channel text, p_now bigint, p_gates text[])
returns void language plpgsql as $$
declare
  g docket.gate;
  v_live int;
  v_wake bigint;
begin
  for g in select x.* from (select distinct n from unnest(p_gates) n) u cross join lateral (
      select y.* from docket.gate y where y.docket = p_docket and y.name = u.n limit 1) x loop
    delete from docket.gate_fn f where f.docket = p_docket and f.gate = g.name and not exists (
      select 1 from docket.task t where t.docket = p_docket and t.gate = g.name and t.function = f.function
        and t.state = 1 and t.place is not null);
    if exists (select 1 from docket.gate_fn f where f.docket = p_docket and f.gate = g.name) then
      select count(*) into v_live from (select 1 from docket.permit p
        where p.docket = p_docket and p.gate = g.name and p.until > p_now
        order by p.until limit greatest(g.lim, 0)) x;
      if v_live < g.lim then
        update docket.gate_fn f set wake = p_now where f.docket = p_docket and f.gate = g.name and f.wake > p_now;
        v_wake := p_now;
      else
        select coalesce(min(p.until), 9000000000000000000) into v_wake from docket.permit p
          where p.docket = p_docket and p.gate = g.name and p.until > p_now;
        update docket.gate_fn f set wake = v_wake where f.docket = p_docket and f.gate = g.name and f.wake <> v_wake;
      end if;
      if v_wake < p_now + 2500000 then
        perform docket.hint_1(p_channel, jsonb_object_agg(f.function, v_wake)) from docket.gate_fn f
          where f.docket = p_docket and f.gate = g.name;
      end if;
    elsif not exists (select 1 from docket.permit p where p.docket = p_docket and p.gate = g.name) then
      delete from docket.gate x where x.docket = p_docket and x.name = g.name;
    end if;
  end loop;
end $$;

-- The lease of a run is over: what was bound to it is free.
create or replace function docket.free_bound_1(p_docket text, p_key text, p_run text) returns void language plpgsql as $$
begin
  delete from docket.permit p where p.docket = p_docket and p.key = p_key and p.run = p_run and (p.bound or p.reserved);
end $$;

-- A run is over or replaced: only unexpired permits that outlive it stay, and belong to nobody.
create or replace function docket.free_run_1(p_docket text, p_key text, p_run text, p_now bigint)
returns void language plpgsql as $$
begin
  delete from docket.permit p where p.docket = p_docket and p.key = p_key and p.run = p_run
    and (p.bound or p.reserved or p.extend or p.until <= p_now);
  update docket.permit p set key = null, run = null where p.docket = p_docket and p.key = p_key and p.run = p_run;
end $$;

-- Makes the live part of this row (locked, its gates too) the last one.
create or replace function docket.end_1(
  p_channel text, p_now bigint, p_retention bigint, p_told boolean, r docket.task, p_state smallint,
  p_result bytea, p_error text, p_reason text, p_acked bigint)
returns void language plpgsql as $$
begin
  if r.gated then
    perform docket.free_run_1(r.docket, r.key, r.run, p_now);
  end if;
  if r.kept then
    delete from docket.aside a where a.docket = r.docket and a.key = r.key and a.kind = 1;
  end if;
  r.state := p_state; r.ended := p_now; r.expires := p_now + p_retention; r.error := p_error;
  if p_retention > 0 or r.held then
    update docket.task t set state = p_state, ended = r.ended, expires = r.expires, result = p_result, error = p_error,
      reason = p_reason, acked = coalesce(p_acked, t.acked), token = null, lease = null, takeover = null,
      cancelling = false, gated = false, kept = false, parked = null, place = null, gate = null, request = null,
      places = null, p_current = null, p_total = null, p_message = null, p_at = null
    where t.docket = r.docket and t.key = r.key;
  else
    delete from docket.task t where t.docket = r.docket and t.key = r.key;
  end if;
  if p_told then
    perform docket.tell_state_1(p_channel, p_now, r);
  end if;
end $$;

-- The replaced run of this row (locked, its gates too) is over: the newer one may be claimed.
create or replace function docket.end_hold_1(p_channel text, p_now bigint, r docket.task)
returns docket.aside language plpgsql as $$
declare
  h docket.aside;
begin
  delete from docket.aside a where a.docket = r.docket and a.key = r.key and a.kind = 2 returning a.* into h;
  if h.gated then
    perform docket.free_run_1(r.docket, r.key, h.run, p_now);
  end if;
  if r.state > 2 and r.expires <= p_now then
    delete from docket.task t where t.docket = r.docket and t.key = r.key;
  else
    update docket.task t set held = false where t.docket = r.docket and t.key = r.key;
    perform docket.hint_pending_1(r.docket, p_channel, p_now, array[r.key]);
  end if;
  return h;
end $$;
