-- Ends claims without a successor. The keys are distinct and in byte order. Answers the positions (from 1) of those that
-- are done; the others, which are rare, need `ack_1`: a transaction of its own keeps the order of the locks.
create or replace function docket.finish_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_keys text[], p_tokens bigint[], p_states smallint[],
  p_results bytea[], p_errors text[], p_reasons text[])
returns int[] language plpgsql as $$
declare
  v_now bigint := docket.now_1(p_now);
  v_told boolean := p_channel is not null and docket.watched_1(p_docket, 1);
  v_done int[];
begin
  if p_retention > 0 then
    with done as (
      update docket.task t set state = d.state, ended = v_now, expires = v_now + p_retention, result = d.result,
        error = d.error, reason = d.reason, acked = d.token, token = null, lease = null, takeover = null,
        cancelling = false, request = null, places = null, gate = null, p_current = null, p_total = null,
        p_message = null, p_at = null
      from (
        select u.*, x.tid from unnest(p_keys, p_tokens, p_states, p_results, p_errors, p_reasons) with ordinality
          u(key, token, state, result, error, reason, position)
        cross join lateral (select q.ctid as tid from docket.task q where q.docket = p_docket and q.key = u.key
          and q.token = u.token limit 1) x) d
      where t.ctid = d.tid and t.token = d.token and not t.gated and not t.kept and not t.held
      returning d.position)
    select array_agg(position) into v_done from done;
    if v_told then
      perform docket.tell_states_1(p_docket, p_channel, v_now, array(
        select k from unnest(p_keys) with ordinality u(k, position) where u.position = any(v_done)));
    end if;
  else
    with done as (
      delete from docket.task t using (
        select u.*, x.tid from unnest(p_keys, p_tokens, p_states, p_errors) with ordinality
          u(key, token, state, error, position)
        cross join lateral (select q.ctid as tid from docket.task q where q.docket = p_docket and q.key = u.key
          and q.token = u.token limit 1) x) d
      where t.ctid = d.tid and t.token = d.token and not t.gated and not t.kept and not t.held
      returning d.position, d.state as now_state, d.error as now_error, t.*),
    told as (
      select docket.tell_1(p_channel, jsonb_build_array('s', d.key, d.run, d.generation, d.now_state + 10, d.due,
        d.worker, d.started, v_now, d.now_error)) from done d where v_told)
    select array_agg(position), (select count(*) from told) into v_done from done;
  end if;
  return v_done;
end $$;

-- Acks of any shape. The keys are distinct; who is parked first stands first in front of its gate. Verdicts: 3 complete,
-- 4 fail, 5 cancel, 6 retry, 7 postpone, 8 park, 9 release. Answers in order: 0 acked, 1 gone, 2 superseded, 3 lost.
create or replace function docket.ack_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_keys text[], p_generations bigint[],
  p_tokens bigint[], p_verdicts smallint[], p_results bytea[], p_errors text[], p_reasons text[], p_dues bigint[],
  p_delays bigint[], p_attempts int[], p_runs text[], p_functions text[], p_payloads bytea[], p_headers bytea[],
  p_requests jsonb[])
returns smallint[] language plpgsql as $$
declare
  v_now bigint;
  v_gates text[];
  v_told boolean;
  v_due bigint;
  v_replies smallint[] := '{}';
  v_pending text[] := '{}';
  r docket.task;
begin
  perform docket.lock_tasks_1(p_docket, p_keys);
  insert into docket.gate as g (docket, name, lim)
    select distinct on (q ->> 'gate') p_docket, q ->> 'gate', (q ->> 'limit')::int from unnest(p_requests) q
    where q is not null order by q ->> 'gate'
  on conflict (docket, name) do nothing;
  v_gates := docket.lock_gates_1(p_docket, p_keys, array(select q ->> 'gate' from unnest(p_requests) q));
  v_now := docket.now_1(p_now);
  v_told := docket.watched_1(p_docket, 1);
  for i in 1..cardinality(p_keys) loop
    select t.* into r from docket.task t where t.docket = p_docket and t.key = p_keys[i];
    if not found or (r.state > 2 and not r.held and r.expires <= v_now) then
      v_replies[i] := 1;
    elsif r.acked = p_tokens[i] then
      v_replies[i] := 0;
    elsif r.held and exists (select 1 from docket.aside a where a.docket = p_docket and a.key = r.key and a.kind = 2
      and a.token = p_tokens[i]) then
      perform docket.end_hold_1(p_channel, v_now, r);
      v_replies[i] := 2;
    elsif p_generations[i] < r.generation then
      v_replies[i] := 2;
    elsif r.state <> 2 or r.token is distinct from p_tokens[i] then
      v_replies[i] := 3;
    else
      v_replies[i] := 0;
      v_due := coalesce(p_dues[i], v_now + p_delays[i], v_now);
      if p_verdicts[i] <= 5 and (r.cancelling or p_runs[i] is null) then
        perform docket.end_1(p_channel, v_now, p_retention, v_told, r, p_verdicts[i], p_results[i], p_errors[i],
          p_reasons[i], p_tokens[i]);
      elsif r.cancelling then
        perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cancelled',
          p_tokens[i]);
      else
        if p_verdicts[i] <= 5 then
          perform docket.succeed_1(p_channel, v_now, p_retention, v_told, r, p_verdicts[i], p_results[i], p_errors[i],
            p_reasons[i], v_due, p_attempts[i], p_runs[i], p_functions[i], p_payloads[i], p_headers[i]);
        else
          perform docket.go_on_1(v_now, r, p_verdicts[i], v_due, p_attempts[i], p_requests[i]);
        end if;
        v_pending := v_pending || r.key;
      end if;
    end if;
  end loop;
  perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  if v_pending <> '{}' then
    perform docket.hint_pending_1(p_docket, p_channel, v_now, v_pending);
    perform docket.tell_states_1(p_docket, p_channel, v_now, v_pending);
  end if;
  return v_replies;
end $$;

-- A chain goes on: this row's run becomes the key's last part, the new run its live one.
create or replace function docket.succeed_1(
  p_channel text, p_now bigint, p_retention bigint, p_told boolean, r docket.task, p_state smallint, p_result bytea,
  p_error text, p_reason text, p_due bigint, p_attempt int, p_run text, p_function text, p_payload bytea,
  p_headers bytea)
returns void language plpgsql as $$
declare
  l docket.task := r;
begin
  if r.gated then
    perform docket.free_run_1(r.docket, r.key, r.run, p_now);
  end if;
  if r.kept then
    delete from docket.aside a where a.docket = r.docket and a.key = r.key and a.kind = 1;
  end if;
  l.state := p_state; l.ended := p_now; l.expires := p_now + p_retention; l.result := p_result; l.error := p_error;
  l.reason := p_reason; l.gated := false; l.kept := false; l.cancelling := false; l.token := null; l.takeover := null;
  l.lease := null; l.request := null; l.places := null; l.gate := null; l.p_current := null; l.p_at := null;
  l.p_total := null; l.p_message := null;
  if p_retention > 0 then
    insert into docket.aside select 1::smallint, (l).*;
  end if;
  update docket.task t set due = p_due, ready = greatest(p_due, p_now), seq = nextval('docket.seq'),
    generation = r.generation + 1, acked = r.token, token = null, lease = null, takeover = null, started = null,
    p_current = null, p_total = null, p_at = null, attempt = p_attempt, delivery = 0, state = 1, cancelling = false,
    gated = false, kept = p_retention > 0, function = p_function, run = p_run, payload = p_payload,
    headers = p_headers, worker = null, p_message = null, gate = null, request = null, places = null
  where t.docket = r.docket and t.key = r.key;
  if p_told then
    perform docket.tell_state_1(p_channel, p_now, l);
  end if;
end $$;

-- The same run again: retry, postpone, park, release.
create or replace function docket.go_on_1(
  p_now bigint, r docket.task, p_verdict smallint, p_due bigint, p_attempt int, p_request jsonb)
returns void language plpgsql as $$
declare
  v_request jsonb := case p_verdict when 8 then p_request when 9 then r.request end;
  v_gate text := v_request ->> 'gate';
  v_places jsonb := r.places;
begin
  if r.gated then
    perform docket.free_bound_1(r.docket, r.key, r.run);
  end if;
  if v_gate is not null then
    v_places := coalesce(v_places, '{}'::jsonb);
    if not v_places ? v_gate then
      v_places := v_places || jsonb_build_object(v_gate, nextval('docket.seq'));
    end if;
    insert into docket.gate as g (docket, name, lim) values (r.docket, v_gate, (v_request ->> 'limit')::int)
      on conflict (docket, name) do update set lim = excluded.lim;
    insert into docket.gate_fn as f (docket, function, gate, wake) values (r.docket, r.function, v_gate, p_now)
      on conflict (docket, gate, function) do nothing;
  elsif p_verdict <> 9 then
    v_places := null;
  end if;
  update docket.task t set
    due = case when p_verdict in (6, 7) then p_due else r.due end,
    ready = case p_verdict when 9 then r.ready when 8 then greatest(r.due, p_now) else greatest(p_due, p_now) end,
    seq = case when p_verdict = 9 then r.seq else nextval('docket.seq') end,
    generation = r.generation + (p_verdict <> 9)::int,
    delivery = case when p_verdict = 9 then r.delivery - 1 else 0 end,
    attempt = case when p_verdict in (6, 7) then p_attempt else r.attempt end, acked = r.token, state = 1,
    token = null, lease = null, takeover = null, started = null, worker = null, p_current = null, p_total = null,
    p_message = null, p_at = null, request = v_request, gate = v_gate, places = v_places,
    place = (v_places ->> v_gate)::bigint, parked = case when v_gate is not null then p_now end
  where t.docket = r.docket and t.key = r.key;
end $$;
