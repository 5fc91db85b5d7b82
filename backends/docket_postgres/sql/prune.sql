-- Removes up to p_limit things that nobody needs any more; answers how many.
create or replace function docket.prune_1(
  p_docket text, p_channel text, p_now bigint, p_retention bigint, p_limit int)
returns int language plpgsql as $$
declare
  v_now bigint := docket.now_1(p_now);
  v_real bigint := docket.now_1(null);
  v_done int := 0;
  v_size int;
  v_keys text[];
  v_key text;
  v_gates text[];
  v_told boolean := docket.watched_1(p_docket, 1);
  r docket.task;
begin
  v_keys := array(
    select t.key from (
      (select x.key from docket.task x where x.docket = p_docket and x.state = 2 and x.cancelling
        and x.lease <= v_now order by x.lease limit p_limit)
      union (select a.key from docket.aside a where a.docket = p_docket and a.kind = 2 and a.lease <= v_now
        order by a.lease limit p_limit) limit p_limit) k
    cross join lateral (
      select y.key from docket.task y where y.docket = p_docket and y.key = k.key for update skip locked) t);
  if v_keys <> '{}' then
    v_gates := docket.lock_gates_1(p_docket, v_keys, null);
    for r in select t.* from unnest(v_keys) k cross join lateral (
        select x.* from docket.task x where x.docket = p_docket and x.key = k limit 1) t loop
      if r.state = 2 and r.cancelling and r.lease <= v_now then
        perform docket.end_1(p_channel, v_now, p_retention, v_told, r, 5::smallint, null, null, 'cancelled', null);
        v_done := v_done + 1;
      elsif r.held and exists (select 1 from docket.aside a where a.docket = p_docket and a.key = r.key and a.kind = 2
        and a.lease <= v_now) then
        perform docket.end_hold_1(p_channel, v_now, r);
        v_done := v_done + 1;
      end if;
    end loop;
    perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  end if;

  delete from docket.task t using (select unnest(array(
    select x.ctid from docket.task x where x.docket = p_docket and x.state > 2 and x.expires <= v_now and not x.held
      order by x.expires limit p_limit - v_done for update skip locked)) as tid) u where t.ctid = u.tid;
  get diagnostics v_size = row_count;
  v_done := v_done + v_size;

  for v_key in select x.key from (
      select a.key from docket.aside a where a.docket = p_docket and a.kind = 1 and a.expires <= v_now
      order by a.expires limit p_limit - v_done) k cross join lateral (
      select t.key from docket.task t where t.docket = p_docket and t.key = k.key for update skip locked) x loop
    delete from docket.aside a where a.docket = p_docket and a.key = v_key and a.kind = 1 and a.expires <= v_now;
    if found then
      v_done := v_done + 1;
      update docket.task t set kept = false where t.docket = p_docket and t.key = v_key;
    end if;
  end loop;

  v_gates := array(select p.gate from docket.permit p where p.docket = p_docket and p.key is null
    and p.until <= v_now order by p.until limit p_limit - v_done);
  if v_gates <> '{}' then
    perform docket.lock_gate_rows_1(p_docket, v_gates);
    delete from docket.permit p where p.docket = p_docket and p.key is null and p.until <= v_now
      and p.gate = any(v_gates);
    get diagnostics v_size = row_count;
    v_done := v_done + v_size;
    perform docket.settle_gates_1(p_docket, p_channel, v_now, v_gates);
  end if;

  delete from docket.worker w where w.docket = p_docket and w.name = any(array(
    select x.name from docket.worker x where x.docket = p_docket and x.until <= v_now
      limit greatest(p_limit - v_done, 0) for update skip locked));
  get diagnostics v_size = row_count;
  v_done := v_done + v_size;
  delete from docket.watcher w where w.docket = p_docket and w.until <= v_real - 60000000;
  delete from docket.strike s where s.docket = p_docket and s.at <= v_real - 60000000
    and (s.instruction is null or exists (select 1 from docket.strike n where n.docket = s.docket
      and n.rule = s.rule and n.seq > s.seq));
  return v_done;
end $$;

-- Records an instruction, null to remove the rule. The lock makes the order of the numbers that of the commits, so that
-- a reader who asks for what came after a number misses nothing. Superseded rows stay for a minute for such readers.
-- Answers the number.
create or replace function docket.strike_2(
  p_docket text, p_channel text, p_rule text, p_instruction bytea)
returns bigint language plpgsql as $$
declare
  v_real bigint := docket.now_1(null);
  v_seq bigint;
begin
  perform pg_advisory_xact_lock(1685021557, hashtext(p_docket));
  delete from docket.strike s where s.docket = p_docket and s.rule = p_rule and s.at <= v_real - 60000000;
  insert into docket.strike (docket, rule, seq, at, instruction)
    values (p_docket, p_rule, nextval('docket.seq'), v_real, p_instruction) returning seq into v_seq;
  if p_channel is not null then
    perform pg_notify(p_channel || 's', '');
  end if;
  return v_seq;
end $$;

-- All instructions kept, in order: number, rule, instruction, whether it is the rule's newest; and in each row a place up
-- to which nothing is missing. The lock waits for those who have got a number and have not committed yet. Where there are
-- no instructions, one row has the place alone.
create or replace function docket.strikes_1(p_docket text)
returns table (seq bigint, rule text, instruction bytea, newest boolean, place bigint) language plpgsql as $$
declare
  v_place bigint := (select case when q.is_called then q.last_value else 0 end from docket.seq q);
begin
  perform pg_advisory_xact_lock_shared(1685021557, hashtext(p_docket));
  return query
    select s.seq, s.rule, s.instruction, not exists (
        select 1 from docket.strike n where n.docket = s.docket and n.rule = s.rule and n.seq > s.seq),
      greatest(v_place, max(s.seq) over ())
    from (select p_docket) d(docket) left join docket.strike s on s.docket = d.docket
    order by s.seq;
end $$;
