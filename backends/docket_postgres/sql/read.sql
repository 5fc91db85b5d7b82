-- Everything that is kept of these keys, part by part, with the store's time.
create or replace function docket.get_1(p_docket text, p_now bigint, p_keys text[])
returns table (kind smallint, key text, state smallint, function text, payload bytea, headers bytea, run text,
  generation bigint, attempt int, delivery int, due bigint, parked bigint, worker text, token bigint, started bigint,
  lease bigint, cancelling boolean, p_current bigint, p_total bigint, p_message text, p_at bigint, ended bigint,
  expires bigint, result bytea, error text, reason text, place bigint, now bigint)
language plpgsql stable as $$
#variable_conflict use_column
declare
  v_now bigint := docket.now_1(p_now);
begin
  return query
    select 0::smallint, t.key, t.state, t.function, t.payload, t.headers, t.run, t.generation, t.attempt, t.delivery,
      t.due, t.parked, t.worker, t.token, t.started, t.lease, t.cancelling, t.p_current, t.p_total, t.p_message, t.p_at,
      t.ended, t.expires, t.result, t.error, t.reason, t.place, v_now
    from unnest(p_keys) k cross join lateral (
      select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t
    union all
    select a.kind, a.key, a.state, a.function, a.payload, a.headers, a.run, a.generation, a.attempt, a.delivery,
      a.due, a.parked, a.worker, a.token, a.started, a.lease, a.cancelling, a.p_current, a.p_total, a.p_message, a.p_at,
      a.ended, a.expires, a.result, a.error, a.reason, a.place, v_now
    from unnest(p_keys) k cross join lateral (
      select x.* from docket.aside x where x.docket = p_docket and x.key = k offset 0) a;
end $$;

-- The next p_limit keys with a part in one of these states (as readers see them, 10 to 15), in byte order.
create or replace function docket.scan_1(
  p_docket text, p_now bigint, p_states smallint[], p_after text, p_limit int)
returns text[] language plpgsql stable as $$
declare
  v_now bigint := docket.now_1(p_now);
begin
  return array(
    select t.key from docket.task t where t.docket = p_docket and t.key > p_after and (
      (case when t.state > 2 and t.expires <= v_now then 0
        else docket.seen_1(t.state, t.place, t.due, v_now) end) = any(p_states)
      or ((t.kept or t.held) and exists (select 1 from docket.aside a where a.docket = p_docket and a.key = t.key
        and case when a.kind = 2 then a.lease > v_now and 12 = any(p_states)
          else a.expires > v_now and a.state + 10 = any(p_states) end)))
    order by t.key limit p_limit);
end $$;
