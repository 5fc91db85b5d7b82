"""Adding tasks, on a connection of the backend's own or in a caller's transaction."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from docket_core.backend.clock import Micros
from docket_core.backend.kit import refusal_of_task
from docket_core.backend.model import Enqueued, EnqueueStatus, OnConflict, Task
from docket_core.backend.states import PENDING, State
from docket_core.errors import BackendUnavailable
from docket_postgres.errors import is_in_use
from docket_postgres.rows import STATES, clamped, length, moment, places, portions, task_columns, waves
from docket_postgres.settings import Settings

Fetch = Callable[..., Awaitable[Sequence[Sequence[Any]]]]


_NOW = "coalesce($3::bigint, (extract(epoch from statement_timestamp()) * 1000000)::bigint)"
_LATER = f"coalesce($9::bigint, {_NOW} + $10::bigint)"
_ADD_NEW = """
insert into docket.task (due, ready, seq, generation, attempt, delivery, state, docket, key, function, run, payload,
  headers)
values ({due}, {ready}, nextval('docket.seq'), 1, $8, 0, 1, $1, $4, $5, $4, $6, $7)
returning due, {now},
  case when $2::text is not null and not pg_try_advisory_xact_lock({ear}) then concat(
    case when due < {now} + 2500000 then pg_notify($2, json_build_object(function, ready)::text) end,
    case when exists (select 1 from docket.watcher w where w.docket = $1 and w.topics & 1 <> 0
        and w.until > docket.now_1(null))
      then docket.tell_1($2, jsonb_build_array('s', key, run, 1, case when due <= {now} then 11 else 10 end,
        due, null, null, null, null)) end) end
"""
"""Adds one task under the id of its run, which nobody has used; if it is there all the same, as it was sent before,
this is a unique violation. It tells of it as `enqueue_1` does, but only where somebody listens, see `Settings.ear`.
As a function it would cost a thirtieth more."""


class PostgresEnqueuer:
    """Adds tasks by whatever sends a statement.

    A statement of its own (`alone`) is undone by itself where it fails, so it may take it that nobody has the key of a
    task that is its run's own id; in a caller's transaction it may not.
    """

    def __init__(
        self, fetch: Fetch, settings: Settings, max_payload: int, now: Callable[[], Micros | None], *, alone: bool
    ) -> None:
        self._fetch = fetch
        self._docket = settings.docket
        self._channel = settings.channel
        self._max_payload = max_payload
        self._now = now
        self._alone = alone
        new = _ADD_NEW.replace("docket.", f'"{settings.schema}".')
        self._new_now = new.format(due=_NOW, ready=_NOW, now="due", ear=settings.ear)
        self._new_later = new.format(due=_LATER, ready=f"greatest({_LATER}, {_NOW})", now=_NOW, ear=settings.ear)
        self._one = f'select "{settings.schema}".add_one_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)'
        self._new = f'select "{settings.schema}".add_new_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)'
        self._many = (
            f'select * from "{settings.schema}".enqueue_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)'
        )

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        """Make tasks ready now."""
        return await self.add(tasks, on_conflict, at_once=True)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        """Make tasks ready at their `when`, or after their `delay`."""
        return await self.add(tasks, on_conflict, at_once=False)

    async def add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> list[Enqueued]:
        """One statement for each wave of distinct keys."""
        if len(tasks) == 1:
            task = tasks[0]
            error = refusal_of_task(task, self._max_payload)
            if error is not None:
                return [Enqueued(EnqueueStatus.REFUSED, task.run, error=error)]
            return [await self._add_one(task, on_conflict, at_once)]
        answers: list[Enqueued | None] = [None] * len(tasks)
        fitting: list[int] = []
        for position, task in enumerate(tasks):
            error = refusal_of_task(task, self._max_payload)
            if error is None:
                fitting.append(position)
            else:
                answers[position] = Enqueued(EnqueueStatus.REFUSED, task.run, error=error)
        keys = [task.key for task in tasks]
        distinct = len(set(keys)) == len(keys)
        for portion in portions(fitting, lambda position: len(tasks[position].payload)):
            if distinct:
                await self._add_wave(sorted(portion, key=keys.__getitem__), tasks, answers, on_conflict, at_once)
                continue
            firsts: dict[str, int] = {}
            for wave in waves((keys[position], position) for position in portion):
                left = [p for key, p in wave if not self._follows(tasks, answers, firsts.get(key), p, on_conflict)]
                await self._add_wave(left, tasks, answers, on_conflict, at_once)
                for position in left:
                    firsts.setdefault(keys[position], position)
        return [answer for answer in answers if answer is not None]

    async def _add_wave(
        self,
        positions: list[int],
        tasks: Sequence[Task],
        answers: list[Enqueued | None],
        on_conflict: OnConflict,
        at_once: bool,
    ) -> None:
        added = await self._add_some([tasks[p] for p in positions], places(positions), on_conflict, at_once)
        for position, answer in zip(positions, added, strict=True):
            answers[position] = answer

    @staticmethod
    def _follows(
        tasks: Sequence[Task], answers: list[Enqueued | None], first: int | None, position: int, on_conflict: OnConflict
    ) -> bool:
        """Whether an earlier item of the same call answers this one: they apply at once, so its task is there."""
        answer = None if first is None else answers[first]
        if answer is None or answer.state not in PENDING or on_conflict is not OnConflict.KEEP:
            return False
        repeated = tasks[position].run == answer.run
        answers[position] = answer._replace(status=EnqueueStatus.ACCEPTED if repeated else EnqueueStatus.EXISTS)
        return True

    async def _add_one(self, task: Task, on_conflict: OnConflict, at_once: bool) -> Enqueued:
        due = () if at_once else (moment(task.when), length(task.delay) or 0)
        if self._alone and task.run is task.key:
            try:
                rows = await self._fetch(
                    self._new_now if at_once else self._new_later,
                    self._docket,
                    self._channel,
                    self._now(),
                    task.key,
                    task.function,
                    task.payload,
                    task.headers,
                    clamped(task.attempt),
                    *due,
                )
            except BackendUnavailable as error:
                if not is_in_use(error):
                    raise
                return (await self._add_known([task], None, on_conflict, at_once))[0]
            at, now = rows[0][0], rows[0][1]
            return Enqueued(EnqueueStatus.ACCEPTED, task.run, 1, at, State.QUEUED if at <= now else State.SCHEDULED)
        rows = await self._fetch(
            self._one,
            self._docket,
            self._channel,
            self._now(),
            on_conflict is OnConflict.REPLACE,
            task.key,
            task.function,
            task.payload,
            task.run,
            task.headers,
            *(due or (None, None)),
            clamped(task.attempt),
        )
        answer: str = rows[0][0]
        if not answer.startswith("{"):
            return _fresh(task, int(answer), at_once)
        row: list[Any] = list(json.loads(answer).values())
        return _fresh(task, row[4], at_once) if row[0] is None else _answer(row)

    async def _add_some(
        self, tasks: Sequence[Task], ranks: list[int] | None, on_conflict: OnConflict, at_once: bool
    ) -> list[Enqueued]:
        if not tasks:
            return []
        if self._alone and all(task.run is task.key for task in tasks):
            columns = task_columns(tasks, at_once=at_once)
            try:
                rows = await self._fetch(self._new, self._docket, self._channel, self._now(), *columns, ranks)
            except BackendUnavailable as error:
                if not is_in_use(error):
                    raise
            else:
                return [_fresh(task, rows[0][0], at_once) for task in tasks]
        return await self._add_known(tasks, ranks, on_conflict, at_once)

    async def _add_known(
        self, tasks: Sequence[Task], ranks: list[int] | None, on_conflict: OnConflict, at_once: bool
    ) -> list[Enqueued]:
        """As `_add_some`, whoever may have used these keys."""
        columns = task_columns(tasks, at_once=at_once)
        rows = await self._fetch(
            self._many,
            self._docket,
            self._channel,
            self._now(),
            on_conflict is OnConflict.REPLACE,
            *columns[:3],
            [task.run for task in tasks],
            *columns[3:],
            ranks,
        )
        if rows[0][0] is None:
            return [_fresh(task, rows[0][4], at_once) for task in tasks]
        by_key = {row[0]: row for row in rows}
        return [_answer(by_key[task.key]) for task in tasks]


def _fresh(task: Task, now: Micros, at_once: bool) -> Enqueued:
    due = now
    if not at_once:
        when = moment(task.when)
        due = when if when is not None else now + (length(task.delay) or 0)
    state = State.QUEUED if due <= now else State.SCHEDULED
    return Enqueued(EnqueueStatus.ACCEPTED, task.run, 1, due, state)


def _answer(row: Sequence[Any]) -> Enqueued:
    status = EnqueueStatus.ACCEPTED if row[1] else EnqueueStatus.EXISTS
    return Enqueued(status, row[2], row[3], row[4], STATES[row[5]])
