-- Permits for running tasks, first come, first served. The requests of one task (`p_items`) are granted together or not
-- at all. One row for each request: 0 granted, 1 held, 2 lapsed, 3 denied, 4 lost; `by` is the position of the request
-- that was denied.
create or replace function docket.acquire_1(
  p_docket text, p_channel text, p_now bigint, p_items int[], p_keys text[], p_tokens bigint[], p_gates text[],
  p_limits int[], p_holders text[], p_ttls bigint[], p_bounds boolean[], p_extends boolean[])
returns table (status smallint, until bigint, by int)
language plpgsql as $$
declare
  v_now bigint;
  v_first int := 1;
  v_last int;
  v_free int;
  v_ahead int;
  v_denied int;
  v_until bigint;
  v_statuses smallint[];
  r docket.task;
  p docket.permit;
begin
  perform docket.lock_tasks_1(p_docket, p_keys);
  insert into docket.gate as g (docket, name, lim)
    select distinct on (u.gate) p_docket, u.gate, u.lim from unnest(p_gates, p_limits) with ordinality
      u(gate, lim, position) order by u.gate, u.position desc
  on conflict (docket, name) do update set lim = excluded.lim;
  v_now := docket.now_1(p_now);
  while v_first <= cardinality(p_items) loop
    v_last := v_first;
    while v_last < cardinality(p_items) and p_items[v_last + 1] = p_items[v_first] loop
      v_last := v_last + 1;
    end loop;
    select t.* into r from docket.task t where t.docket = p_docket and t.key = p_keys[v_first]
      and t.token = p_tokens[v_first] and t.lease > v_now;
    if not found then
      return query select 4::smallint, null::bigint, k from generate_series(v_first, v_last) k;
    else
      v_statuses := '{}';
      v_denied := null;
      for k in v_first..v_last loop
        select x.* into p from docket.permit x where x.docket = p_docket and x.gate = p_gates[k]
          and x.holder = p_holders[k];
        if found and p.until > v_now then
          v_statuses[k] := case when p.reserved and p.key = r.key and p.run = r.run then 0 else 1 end;
        else
          v_free := p_limits[k] - (select count(*) from docket.permit x where x.docket = p_docket
            and x.gate = p_gates[k] and x.until > v_now) - (select count(*) from generate_series(v_first, k - 1) j
            where p_gates[j] = p_gates[k] and v_statuses[j] in (5, 2));
          v_ahead := docket.ahead_1(p_docket, p_gates[k], (r.places ->> p_gates[k])::bigint, v_free);
          if v_free <= v_ahead then
            v_denied := k;
            exit;
          end if;
          v_statuses[k] := case when p.key is null then 5 else 2 end;
        end if;
      end loop;
      if v_denied is not null then
        if p_extends[v_denied] then
          update docket.permit x set until = v_now + p_ttls[v_denied] where x.docket = p_docket
            and x.gate = p_gates[v_denied] and x.until > v_now and not x.bound and not x.reserved
            and x.until < v_now + p_ttls[v_denied];
        end if;
        select min(x.until) into v_until from docket.permit x where x.docket = p_docket
          and x.gate = p_gates[v_denied] and x.until > v_now;
        -- a denied task holds nothing: two that were woken at two gates must not deny each other for ever
        delete from docket.permit x where x.docket = p_docket and x.key = r.key and x.run = r.run and x.reserved;
        return query select 3::smallint, v_until, v_denied from generate_series(v_first, v_last);
      else
        for k in v_first..v_last loop
          if v_statuses[k] = 1 then
            select x.until into v_until from docket.permit x where x.docket = p_docket and x.gate = p_gates[k]
              and x.holder = p_holders[k];
          else
            v_until := case when p_bounds[k] then r.lease else v_now + p_ttls[k] end;
            insert into docket.permit as x (docket, gate, holder, key, run, until, bound, extend, reserved)
              values (p_docket, p_gates[k], p_holders[k], r.key, r.run, v_until, p_bounds[k], p_extends[k], false)
            on conflict (docket, gate, holder) do update set key = excluded.key, run = excluded.run,
              until = excluded.until, bound = excluded.bound, extend = excluded.extend, reserved = false;
          end if;
          return query select (case v_statuses[k] when 5 then 0 else v_statuses[k] end)::smallint, v_until, k;
        end loop;
        update docket.task t set gated = true, places = null, request = null, gate = null
          where t.docket = p_docket and t.key = r.key;
      end if;
    end if;
    v_first := v_last + 1;
  end loop;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, p_gates);
end $$;

-- How many tasks are parked in front of this place (null: in front of a newcomer), counted up to p_enough.
create or replace function docket.ahead_1(p_docket text, p_gate text, p_place bigint, p_enough int)
returns int language plpgsql as $$
begin
  if p_enough <= 0 then
    return 0;
  end if;
  return (select count(*) from (
    select 1 from docket.gate_fn f cross join lateral (
      select 1 from docket.task t where t.docket = p_docket and t.gate = p_gate and t.function = f.function
        and t.state = 1 and t.place is not null and t.place < coalesce(p_place, 9223372036854775807)
      order by t.place limit p_enough) x
    where f.docket = p_docket and f.gate = p_gate limit p_enough) y);
end $$;

-- Gives permits back. Answers in order: 0 released, 1 absent, 2 lost.
create or replace function docket.release_1(
  p_docket text, p_channel text, p_now bigint, p_keys text[], p_tokens bigint[], p_gates text[], p_holders text[])
returns smallint[] language plpgsql as $$
declare
  v_now bigint;
  v_until bigint;
  v_replies smallint[] := '{}';
begin
  perform docket.lock_tasks_1(p_docket, p_keys);
  perform docket.lock_gate_rows_1(p_docket, p_gates);
  v_now := docket.now_1(p_now);
  for i in 1..cardinality(p_keys) loop
    if exists (select 1 from docket.task t where t.docket = p_docket and t.key = p_keys[i]
        and t.token = p_tokens[i] and t.lease > v_now) then
      v_until := null;
      delete from docket.permit p where p.docket = p_docket and p.gate = p_gates[i] and p.holder = p_holders[i]
        returning p.until into v_until;
      v_replies[i] := case when v_until > v_now then 0 else 1 end;
    else
      v_replies[i] := 2;
    end if;
  end loop;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, p_gates);
  return v_replies;
end $$;
