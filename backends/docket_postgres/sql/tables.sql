-- Why the tables are as they are: docs/adr/0011-postgres-tables.md. `docket.` stands for the schema that the option
-- `schema` names. Names sort bytewise, whatever the database's collation: locks are taken in this order. Columns stand
-- from wide to narrow to text, which saves the padding.

create sequence if not exists docket.token;
create sequence if not exists docket.seq;

create table if not exists docket.task (
  due bigint not null,         -- the user's moment
  ready bigint not null,       -- with seq the place among its function's tasks
  seq bigint not null,
  generation bigint not null,
  token bigint, lease bigint, takeover bigint, started bigint,
  ended bigint, expires bigint, acked bigint,
  parked bigint, place bigint, -- its place in front of `gate`; null unless parked
  p_current bigint, p_total bigint, p_at bigint,
  attempt int not null, delivery int not null,
  state smallint not null,     -- 1 pending, 2 running, 3 completed, 4 failed, 5 cancelled
  cancelling boolean not null default false,
  gated boolean not null default false, -- may have permits
  kept boolean not null default false,  -- its last part stands aside
  held boolean not null default false,  -- a hold stands aside
  docket text collate "C" not null,
  key text collate "C" not null,
  function text collate "C" not null,
  run text collate "C" not null,
  payload bytea not null, headers bytea not null,
  worker text, result bytea, error text, reason text, p_message text,
  gate text collate "C",       -- what it is parked for, or was woken for and has not acquired yet
  request jsonb, places jsonb,
  primary key (docket, key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.2, toast.autovacuum_vacuum_scale_factor = 0.05);

create index if not exists task_ready on docket.task (docket, function, ready, seq)
  where state = 1 and place is null and not held;
create index if not exists task_parked on docket.task (docket, gate, function, place)
  where state = 1 and place is not null;
create index if not exists task_lease on docket.task (docket, function, takeover) where state = 2;
create index if not exists task_sweep on docket.task (docket, lease) where state = 2 and cancelling;
create index if not exists task_expiry on docket.task (docket, expires) where state > 2 and not held;

-- Parts beside the row of their key: 1 the last part of a key that is live again, 2 a hold. The columns of task, in its
-- order: parts are copied whole, so a new column is added to the end of both.
create table if not exists docket.aside (kind smallint not null, like docket.task including defaults,
  primary key (docket, key, kind));
create index if not exists aside_hold on docket.aside (docket, lease) where kind = 2;
create index if not exists aside_expiry on docket.aside (docket, expires) where kind = 1;

create table if not exists docket.gate (
  docket text collate "C" not null, name text collate "C" not null, lim int not null,
  primary key (docket, name)
) with (fillfactor = 50);

create table if not exists docket.permit (
  docket text collate "C" not null, gate text collate "C" not null, holder text collate "C" not null,
  key text collate "C", run text collate "C", -- the run it belongs to; null if it outlives it
  until bigint not null,
  bound boolean not null, extend boolean not null,
  reserved boolean not null, -- taken by a claim for a parked task that has not acquired it yet
  primary key (docket, gate, holder)
);
create index if not exists permit_key on docket.permit (docket, key) where key is not null;
create index if not exists permit_until on docket.permit (docket, gate, until);
create index if not exists permit_expiry on docket.permit (docket, until) where key is null;

-- For each function with tasks parked in front of a gate: from when on a look at the gate may be worth it.
create table if not exists docket.gate_fn (
  docket text collate "C" not null, function text collate "C" not null, gate text collate "C" not null,
  wake bigint not null,
  primary key (docket, gate, function)
);
create index if not exists gate_fn_wake on docket.gate_fn (docket, function, wake);

create table if not exists docket.worker (
  docket text collate "C" not null, name text collate "C" not null, functions text[] not null,
  seen bigint not null, until bigint not null,
  primary key (docket, name)
) with (fillfactor = 50);

-- Who listens to events (topics: 1 states, 2 progress), so that nobody is told if nobody listens.
create table if not exists docket.watcher (
  docket text collate "C" not null, id text collate "C" not null, topics int not null, until bigint not null,
  primary key (docket, id)
) with (fillfactor = 50);

create table if not exists docket.strike (
  docket text collate "C" not null, seq bigint not null, at bigint not null, rule text collate "C" not null,
  instruction bytea,
  primary key (docket, seq)
);

create table if not exists docket.version (
  one boolean primary key default true check (one), version int not null, compatible int not null,
  identity text not null default gen_random_uuid()::text
);
