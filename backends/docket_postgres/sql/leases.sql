-- Renews leases and what is bound to them. Answers in order: 0 renewed, 1 lost, 2 renewed and cancel requested.
create or replace function docket.renew_1(
  p_docket text, p_now bigint, p_keys text[], p_tokens bigint[], p_lease bigint)
returns smallint[] language plpgsql as $$
declare
  v_now bigint;
  v_replies smallint[] := '{}';
  v_gated text[] := '{}';
  r record;
begin
  perform docket.lock_tasks_1(p_docket, p_keys);
  v_now := docket.now_1(p_now);
  for r in
    with alive as (
      update docket.task t set lease = v_now + p_lease, takeover = v_now + p_lease + (t.takeover - t.lease)
      from (
        select u.*, x.tid from unnest(p_keys, p_tokens) with ordinality u(key, token, position)
        cross join lateral (select q.ctid as tid from docket.task q where q.docket = p_docket and q.key = u.key
          and q.token = u.token limit 1) x) d
      where t.ctid = d.tid and t.lease > v_now
      returning d.position, t.key, t.run, t.cancelling, t.gated),
    held as (
      update docket.aside a set lease = v_now + p_lease
      from (
        select u.*, x.tid from unnest(p_keys, p_tokens) with ordinality u(key, token, position)
        cross join lateral (select q.ctid as tid from docket.aside q where q.docket = p_docket and q.key = u.key
          and q.kind = 2 and q.token = u.token limit 1) x) d
      where a.ctid = d.tid and a.lease > v_now
      returning d.position, a.key, a.run, a.cancelling, a.gated)
    select * from alive union all select * from held
  loop
    v_replies[r.position] := case when r.cancelling then 2 else 0 end;
    if r.gated then
      v_gated := v_gated || r.key || r.run;
    end if;
  end loop;
  if v_gated <> '{}' then
    perform docket.lock_gates_1(p_docket, v_gated, null);
    for i in 1..cardinality(v_gated) / 2 loop
      update docket.permit p set until = v_now + p_lease where p.docket = p_docket and p.key = v_gated[2 * i - 1]
        and p.run = v_gated[2 * i] and (p.bound or p.reserved);
    end loop;
  end if;
  return array(select coalesce(v_replies[i], 1::smallint) from generate_series(1, cardinality(p_keys)) i order by i);
end $$;

-- Adds to the progress of running tasks. Answers in order: 0 recorded, 1 superseded, 2 lost, 3 gone.
create or replace function docket.progress_1(
  p_docket text, p_channel text, p_now bigint, p_keys text[], p_generations bigint[], p_tokens bigint[],
  p_increments bigint[], p_totals bigint[], p_messages text[], p_clears boolean[])
returns smallint[] language plpgsql as $$
declare
  v_now bigint;
  v_told boolean;
  v_replies smallint[] := '{}';
  r docket.task;
begin
  perform docket.lock_tasks_1(p_docket, p_keys);
  v_now := docket.now_1(p_now);
  v_told := docket.watched_1(p_docket, 2);
  for i in 1..cardinality(p_keys) loop
    select t.* into r from docket.task t where t.docket = p_docket and t.key = p_keys[i];
    if not found or (r.state > 2 and not r.held and r.expires <= v_now) then
      v_replies[i] := 3;
    elsif p_generations[i] < r.generation then
      v_replies[i] := 1;
    elsif r.state <> 2 or r.token is distinct from p_tokens[i] then
      v_replies[i] := 2;
    else
      v_replies[i] := 0;
      update docket.task t set p_at = v_now,
        p_current = greatest(-9223372036854775807, least(9223372036854775807,
          coalesce(t.p_current, 0)::numeric + p_increments[i]))::bigint,
        p_total = coalesce(p_totals[i], t.p_total),
        p_message = case when not p_clears[i] then coalesce(p_messages[i], t.p_message) end
      where t.docket = p_docket and t.key = r.key returning t.* into r;
      if v_told then
        perform docket.tell_1(p_channel, jsonb_build_array('p', r.key, r.run, r.generation, r.p_current, r.p_total,
          r.p_message, r.p_at));
      end if;
    end if;
  end loop;
  return v_replies;
end $$;

-- Ends pending tasks and asks running ones to stop. Answers in order: 0 cancelled, 1 requested, 2 gone.
create or replace function docket.cancel_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_keys text[])
returns smallint[] language plpgsql as $$
declare
  v_now bigint;
  v_told boolean;
  v_gates text[] := '{}';
  v_replies smallint[] := '{}';
  r docket.task;
  h docket.aside;
begin
  if docket.lock_tasks_1(p_docket, p_keys) then
    v_gates := docket.lock_gates_1(p_docket, p_keys, null);
  end if;
  v_now := docket.now_1(p_now);
  v_told := docket.watched_1(p_docket, 1);
  for i in 1..cardinality(p_keys) loop
    v_replies[i] := 2;
    select t.* into r from docket.task t where t.docket = p_docket and t.key = p_keys[i];
    continue when not found;
    if r.held then
      update docket.aside a set cancelling = true where a.docket = p_docket and a.key = r.key and a.kind = 2
        and a.lease > v_now returning a.* into h;
      if found then
        v_replies[i] := 1;
        perform docket.tell_1(p_channel, jsonb_build_array('c', h.key, h.generation, h.token));
      end if;
    end if;
    if r.state = 2 then
      v_replies[i] := 1;
      update docket.task t set cancelling = true where t.docket = p_docket and t.key = r.key and not t.cancelling;
      perform docket.tell_1(p_channel, jsonb_build_array('c', r.key, r.generation, r.token));
    elsif r.state = 1 then
      v_replies[i] := 0;
      perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cancelled', null);
    end if;
  end loop;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  return v_replies;
end $$;

-- One portion of clear: looks at p_limit keys after p_after and ends what is pending since before p_before. Answers how
-- many were ended, and the key to go on after; null when there are no more.
create or replace function docket.clear_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_before bigint, p_after text, p_limit int)
returns table (ended int, after text) language plpgsql as $$
declare
  v_now bigint;
  v_told boolean;
  v_keys text[];
  v_last text;
  v_size int;
  v_gates text[];
  r docket.task;
begin
  select max(x.key), count(*) into v_last, v_size from (
    select t.key from docket.task t where t.docket = p_docket and t.key > p_after order by t.key limit p_limit) x;
  v_keys := array(select t.key from docket.task t where t.docket = p_docket and t.key > p_after and t.key <= v_last
    and t.state + 0 = 1 and t.seq <= p_before order by t.key for update);
  v_gates := docket.lock_gates_1(p_docket, v_keys, null);
  v_now := docket.now_1(p_now);
  v_told := docket.watched_1(p_docket, 1);
  for r in select t.* from unnest(v_keys) k cross join lateral (
      select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t loop
    perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cleared', null);
  end loop;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  return query select cardinality(v_keys), case when v_size = p_limit then v_last end;
end $$;
