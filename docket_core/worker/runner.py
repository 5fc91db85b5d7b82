"""From one claim to exactly one ack. Does no I/O of its own; what it awaits is the user's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from uncalled_for import Dependency, FailedDependency, resolved_dependencies

from docket_core import instrumentation
from docket_core.backend.clock import SECOND, elapsed, stopwatch, to_micros
from docket_core.backend.model import Ack, Claim, Task
from docket_core.backend.watch import AttentiveClock
from docket_core.codec import (
    CodecContext,
    decode_call,
    decode_headers,
    encode_exception,
    encode_result,
    exception_line,
    exception_text,
)
from docket_core.dependencies.base import (
    AdmissionBlocked,
    CompletionHandler,
    FailureHandler,
    Runtime,
    TaskOutcome,
    current_docket,
    current_execution,
    current_worker,
)
from docket_core.errors import CodecError, PayloadRefused, PayloadTooLarge
from docket_core.execution import Execution
from docket_core.functions import TaskFunction
from docket_core.logs import get_logger
from docket_core.worker.admission import Admissions, Denied
from docket_core.worker.log import log_end, log_start
from docket_core.worker.run import Phase, Run, Stop

if TYPE_CHECKING:
    from docket_core.worker.worker import Worker

logger = get_logger("docket_core.worker")
ADMISSION_DELAY = timedelta(milliseconds=100)
"""How long a run that was not admitted waits where nothing says how long."""


class Runner:
    """Runs claims for one worker."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._docket = worker.docket
        self._admissions = Admissions(worker)
        self._clock = clock = worker.docket.clock
        self._watcher = clock.watcher(worker.docket.name) if isinstance(clock, AttentiveClock) else None
        """Tells a clock that moves by itself of bodies in threads, which it cannot see."""

    def enter(self) -> None:
        """Set what every run here has in its context."""
        current_docket.set(self._docket)
        current_worker.set(self._worker)

    def answered(self, run: Run) -> None:
        """The store has answered this run's verdict."""
        self._admissions.answered(run)

    async def run(self, run: Run, task: TaskFunction) -> Ack:
        """Run the body and its hooks; answers the verdict. Raises nothing that a task can cause."""
        docket, claim = self._docket, run.claim
        context = CodecContext(docket.name, claim.key, claim.function)
        try:
            args, kwargs = decode_call(docket.codec, context, claim.payload)
        except CodecError as error:
            logger.error("%s %r cannot be run: %s", claim.function, claim.key, error)  # noqa: TRY400
            reason = "refused" if isinstance(error, PayloadRefused) else "undecodable"
            return Ack.fail(claim, exception_text(error), reason=reason)
        headers = decode_headers(claim.headers) if claim.headers else {}
        execution = Execution(
            docket,
            task.function,
            args,
            kwargs,
            claim.key,
            None,
            claim.attempt,
            headers,
            claim.delivery > 1,
            claim.generation,
            claim.function,
            claim.run,
        )
        execution.begun(claim, self._worker.name, run)
        if docket.strike_list.in_effect and docket.strike_list.is_stricken(execution):
            instrumentation.TASKS_STRICKEN.add(1, docket.labels_of(task.name))
            return Ack.cancel(claim, "struck")
        current_execution.set(execution)
        if not instrumentation.provided():
            return await self._run(run, execution, task)
        attributes = docket.labels() | {"docket.worker": self._worker.name} | execution.specific_labels()
        span = instrumentation.consumer_span(claim.function, headers, attributes)
        with instrumentation.use_span(span):
            ack = await self._run(run, execution, task)
            span.set_attribute("docket.verdict", ack.verdict.value)
            return ack

    async def _run(self, run: Run, execution: Execution, task: TaskFunction) -> Ack:
        clock = self._clock
        began = stopwatch(clock)
        handlers: dict[str, Any] = {}
        blocked: AdmissionBlocked | None = None
        reason: str | None = None
        result: Any = None
        error: BaseException | None = None
        try:
            result = await self._admit_and_run(run, execution, task, handlers)
        except asyncio.CancelledError:
            stopped = run.stopped or self._stopped_from_outside()
            if stopped is Stop.CANCELLED:
                log_end(execution, "cancelled", elapsed(clock, began))
                return Ack.cancel(run.claim, "cancelled")
            if stopped is not None:
                return Ack.release(run.claim)
            error = ExecutionRaised("the task raised CancelledError itself")
        except Denied as denied:
            if denied.ack is not None:
                logger.debug("%r waits: %s", execution.key, denied.reason)
                return denied.ack
            blocked = AdmissionBlocked(execution, denied.reason, reschedule=False)
        except AdmissionBlocked as block:
            blocked = block
        except BaseException as raised:  # noqa: BLE001 - whatever a task raises, SystemExit too, is its own outcome
            error = raised
        duration = elapsed(clock, began)
        if blocked is not None and blocked.reschedule:
            return self._blocked(run, execution, blocked)
        data: bytes | None = None
        if error is None and blocked is None:
            try:
                data = await self._encode(run, execution, result)
            except (CodecError, PayloadTooLarge) as refused:
                error, reason = refused, "unserializable" if isinstance(refused, CodecError) else "too large"
            except Exception as refused:  # noqa: BLE001 - whatever a result storage raises, the task ends with it
                error, reason = refused, "result storage"
        if error is None and blocked is None and not handlers and not task.has_dependencies:
            instrumentation.TASK_DURATION.record(duration.total_seconds(), self._docket.labels_of(task.name))
            return self._completed(run.claim, execution, duration, data)
        outcome = TaskOutcome(duration, result if error is None else None, blocked or error)
        self._fill_handlers(task, handlers)
        return await self._conclude(run, execution, outcome, handlers, data, reason)

    async def _admit_and_run(self, run: Run, execution: Execution, task: TaskFunction, handlers: dict[str, Any]) -> Any:
        if task.has_dependencies:
            await self._admissions.admit(run, execution, task)
        claim, labels = run.claim, self._docket.labels_of(task.name)
        instrumentation.TASKS_STARTED.add(1, labels)
        if claim.delivery > 1:
            instrumentation.TASKS_REDELIVERED.add(1, labels)
        instrumentation.TASK_PUNCTUALITY.record(max(0, claim.claimed_at - claim.when) / SECOND, labels)
        log_start(execution, claim)
        instrumentation.TASKS_RUNNING.add(1, labels)
        try:
            if task.has_dependencies or self._worker.has_dependencies:
                return await self._resolve_and_call(execution, task, handlers)
            if task.is_async:
                return await task.function(*execution.args, **execution.kwargs)
            return await self._in_thread(task.function, execution.args, execution.kwargs)
        finally:
            instrumentation.TASKS_RUNNING.add(-1, labels)

    async def _conclude(
        self,
        run: Run,
        execution: Execution,
        outcome: TaskOutcome,
        handlers: Mapping[str, Any],
        data: bytes | None,
        reason: str | None,
    ) -> Ack:
        """Let the hooks speak, and build the verdict."""
        claim, docket, error = run.claim, self._docket, outcome.exception
        labels = docket.labels_of(execution.function_name)
        instrumentation.TASK_DURATION.record(outcome.duration.total_seconds(), labels)
        blocked = error if isinstance(error, AdmissionBlocked) else None
        handled = False
        if error is not None and blocked is None and reason is None and isinstance(error, Exception):
            failure_handler = cast("FailureHandler[Any] | None", handlers.get("failure"))
            if failure_handler is not None:
                run.phase = Phase.FAILURE
                handled = await self._hook(run, execution, failure_handler.handle_failure, outcome)
                run.phase = Phase.BODY
                if run.again is not None and self._worker.may_go_on(claim.key):
                    instrumentation.TASKS_RETRIED.add(1, labels)
                    log_end(execution, f"to be tried again after {exception_line(error)}", outcome.duration)
                    return run.again.ack(claim)
        completion_handler = cast("CompletionHandler[Any] | None", handlers.get("completion"))
        if completion_handler is not None:
            run.phase = Phase.COMPLETION
            handled = await self._hook(run, execution, completion_handler.on_complete, outcome) or handled
            run.phase = Phase.BODY
        successor = run.successor
        if successor is not None and (
            not self._worker.may_go_on(claim.key) or self._is_struck(successor.function, execution, run)
        ):
            successor = None
        if successor is not None:
            instrumentation.TASKS_PERPETUATED.add(1, labels)
        if blocked is not None:
            log_end(execution, f"not admitted: {blocked.reason}", outcome.duration)
            return Ack.cancel(claim, blocked.reason, successor=successor)
        if error is None:
            return self._completed(claim, execution, outcome.duration, data, successor)
        if not handled:
            log_end(execution, "failed", outcome.duration, error)
        context = CodecContext(docket.name, claim.key, claim.function)
        encoded = encode_exception(docket.codec, context, error, docket.backend.capabilities.max_payload)
        return Ack.fail(claim, exception_text(error), encoded, reason=reason, successor=successor)

    @staticmethod
    def _completed(
        claim: Claim, execution: Execution, duration: timedelta, data: bytes | None, successor: Task | None = None
    ) -> Ack:
        log_end(execution, "succeeded", duration)
        return Ack.complete(claim, data, successor=successor)

    def _blocked(self, run: Run, execution: Execution, blocked: AdmissionBlocked) -> Ack:
        logger.debug("%r waits: %s", execution.key, blocked.reason)
        if blocked.park is not None:
            return Ack.park(run.claim, blocked.park)
        delay = blocked.retry_delay if blocked.retry_delay is not None else ADMISSION_DELAY
        return Ack.postpone(run.claim, delay=to_micros(delay))

    async def _resolve_and_call(self, execution: Execution, task: TaskFunction, handlers: dict[str, Any]) -> Any:
        given = task.arguments(execution.args, execution.kwargs)
        async with self._worker.around() as around:
            _raise_failed(around)
            async with resolved_dependencies(task.function, given) as resolved:
                for value in (*resolved.values(), *_bound(task, {**resolved, **given}), *around.values()):
                    _note_handler(value, handlers)
                _raise_failed(resolved)
                return await self._call_with(execution, task, handlers, given, resolved)

    async def _call_with(
        self,
        execution: Execution,
        task: TaskFunction,
        handlers: Mapping[str, Any],
        given: Mapping[str, Any],
        resolved: Mapping[str, Any],
    ) -> Any:
        kwargs = {name: value for name, value in resolved.items() if name not in given} | execution.kwargs
        runtime = cast("Runtime[Any] | None", handlers.get("runtime"))
        if runtime is None:
            return await self._call(task, execution.args, kwargs)
        return await runtime.run(execution, partial(self._call_as_function, task), *execution.args, **kwargs)

    async def _call_as_function(self, task: TaskFunction, *args: Any, **kwargs: Any) -> Any:
        return await self._call(task, args, kwargs)

    async def _call(self, task: TaskFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if task.is_async:
            return await cast("Callable[..., Awaitable[Any]]", task.function)(*args, **kwargs)
        return await self._in_thread(task.function, args, kwargs)

    async def _in_thread(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        context = copy_context()

        def call() -> Any:
            return context.run(_call_in_thread, function, args, kwargs)

        with self._watcher("thread") if self._watcher is not None else nullcontext():
            return await asyncio.get_running_loop().run_in_executor(self._worker.threads, call)

    async def _hook(
        self,
        run: Run,
        execution: Execution,
        hook: Callable[[Execution, TaskOutcome], Awaitable[bool]],
        outcome: TaskOutcome,
    ) -> bool:
        """What the hook answers. One that raises is logged, and the verdict stands.

        One that is cut short because the worker leaves is not: what it would have recorded must not be lost, so
        the whole run is given back.
        """
        try:
            return bool(await hook(execution, outcome))
        except BaseException as error:
            leaving = run.stopped or self._stopped_from_outside()
            if isinstance(error, asyncio.CancelledError) and leaving not in (None, Stop.CANCELLED):
                raise
            logger.exception("a hook of %s raised; what it said before counts", execution.function_name)
            return False

    async def _encode(self, run: Run, execution: Execution, result: Any) -> bytes | None:
        docket = self._docket
        context = CodecContext(docket.name, execution.key, execution.function_name)
        data = encode_result(docket.codec, context, result)
        if data is not None and docket.results is not None:
            return await docket.results.put(execution.key, run.token, data)
        limit = docket.backend.capabilities.max_payload
        if data is not None and len(data) > limit:
            raise PayloadTooLarge(
                f"the result of {execution.function_name} has {len(data):,} bytes; at most {limit:,} are taken"
            )
        return data

    def _is_struck(self, function: str, execution: Execution, run: Run) -> bool:
        strikes = self._docket.strike_list
        if not strikes.in_effect or run.successor is None:
            return False
        context = CodecContext(self._docket.name, execution.key, function)
        args, kwargs = decode_call(self._docket.codec, context, run.successor.payload)
        successor = Execution(
            self._docket, execution.function, args, kwargs, execution.key, None, function_name=function
        )
        return strikes.is_stricken(successor)

    def _fill_handlers(self, task: TaskFunction, handlers: dict[str, Any]) -> None:
        """Where a dependency could not be resolved, its declaration stands in."""
        if task.has_dependencies:
            for dependency in task.all_dependencies():
                _note_handler(dependency, handlers)

    def _stopped_from_outside(self) -> Stop | None:
        """Whether this was cancelled with its whole worker; a body may as well cancel itself."""
        task = asyncio.current_task()
        cancelled = task is not None and task.cancelling() > 0
        return Stop.SHUTDOWN if cancelled and self._worker.is_leaving() else None


def _bound(task: TaskFunction, values: Mapping[str, Any]) -> list[Dependency[Any]]:
    """The dependencies in annotations, each bound to its parameter."""
    return [
        dependency.bind_to_parameter(name, values.get(name))
        for name, dependencies in task.annotated.items()
        for dependency in dependencies
    ]


def _call_in_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:  # a future cannot hold it: who waits would never be woken
        raise RuntimeError("the task raised StopIteration") from error


class ExecutionRaised(Exception):
    """A task raised what cannot be passed on as it is."""


_KINDS: tuple[tuple[str, type[Any]], ...] = (
    ("runtime", Runtime),
    ("failure", FailureHandler),
    ("completion", CompletionHandler),
)


def _note_handler(value: object, handlers: dict[str, Any]) -> None:
    for kind, base in _KINDS:
        if isinstance(value, base):
            handlers.setdefault(kind, value)


def _raise_failed(resolved: Mapping[str, Any]) -> None:
    """Raise what kept dependencies from being resolved: a refusal as it is, else one group for all."""
    failed = [value for value in resolved.values() if isinstance(value, FailedDependency)]
    if not failed:
        return
    for failure in failed:
        if isinstance(failure.error, AdmissionBlocked):
            raise failure.error
    names = ", ".join(failure.parameter for failure in failed)
    raise ExceptionGroup(f"dependencies could not be resolved: {names}", [failure.error for failure in failed])
