"""`docket worker`"""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, cast

import typer
from uncalled_for import Dependency

from docket_core.cli.durations import parse_duration
from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.session import DEFAULT_NAME, DocketName, Url, named_codec, require_shared, run
from docket_core.cli.worker_logging import Format, Level, set_up_logging
from docket_core.dependencies.perpetual import Perpetual
from docket_core.docket import Docket
from docket_core.errors import ConfigurationError
from docket_core.worker.entry import Ending, run_worker
from docket_core.worker.worker import Worker


def _option(name: str, text: str, *variables: str, **more: Any) -> Any:
    """An option whose variable is named after it: `--shutdown-grace` is DOCKET_WORKER_SHUTDOWN_GRACE."""
    variable = "DOCKET_WORKER_" + name.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, envvar=[variable, *variables], help=text, **more)


def _duration(name: str, text: str, **more: Any) -> Any:
    return _option(name, text, parser=parse_duration, metavar="DURATION", **more)


def worker(
    tasks: Annotated[
        list[str] | None,
        _option("--tasks", "A collection of task functions, module:attribute; may be given again.", metavar="PATH"),
    ] = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    name: Annotated[
        str | None, _option("--name", "The worker's name, unique on its docket.", show_default="host#pid")
    ] = None,
    concurrency: Annotated[int, _option("--concurrency", "How many tasks run at a time.", min=1)] = 10,
    redelivery_timeout: Annotated[
        timedelta,
        _duration(
            "--redelivery-timeout", "After so long the tasks of a dead worker are taken over.", show_default="30s"
        ),
    ] = timedelta(seconds=30),
    max_deliveries: Annotated[
        str, _option("--max-deliveries", "A task is given up after so many deliveries; 'none' for never.", metavar="N")
    ] = "5",
    shutdown_grace: Annotated[
        timedelta | None,
        _duration("--shutdown-grace", "How long running tasks may go on after SIGTERM.", show_default="until they end"),
    ] = None,
    until_finished: Annotated[bool, _option("--until-finished", "End when there is nothing left to do.")] = False,
    codec: Annotated[
        str | None,
        _option(
            "--codec",
            "The docket's codec, module:attribute; also a class, as docket_core:JsonCodec.",
            "DOCKET_CODEC",
            metavar="PATH",
            show_default="cloudpickle",
        ),
    ] = None,
    fallback_task: Annotated[
        str | None,
        _option("--fallback-task", "module:function that takes tasks nobody here knows.", metavar="PATH"),
    ] = None,
    dependencies: Annotated[
        str | None,
        _option("--dependencies", "module:attribute with dependencies to run around every task.", metavar="PATH"),
    ] = None,
    schedule_automatic_tasks: Annotated[
        bool,
        _option("--schedule-automatic-tasks/--no-schedule-automatic-tasks", "Put automatic tasks on the docket."),
    ] = True,
    healthcheck_port: Annotated[
        int | None, _option("--healthcheck-port", "Answer /live and /ready on this port.", min=0, max=65535)
    ] = None,
    metrics_port: Annotated[
        int | None, _option("--metrics-port", "Serve metrics for Prometheus on this port.", min=0, max=65535)
    ] = None,
    reconnection_delay: Annotated[
        timedelta,
        _duration("--reconnection-delay", "The longest pause between tries to reach the store.", show_default="2s"),
    ] = timedelta(seconds=2),
    execution_ttl: Annotated[
        timedelta,
        _duration("--execution-ttl", "How long ends and results of tasks are kept.", show_default="15m"),
    ] = timedelta(minutes=15),
    enable_internal_instrumentation: Annotated[
        bool, _option("--enable-internal-instrumentation", "Spans for every operation on the store.")
    ] = False,
    minimum_check_interval: Annotated[
        timedelta, _duration("--minimum-check-interval", "Accepted for compatibility.", show_default="250ms")
    ] = timedelta(milliseconds=250),
    scheduling_resolution: Annotated[
        timedelta, _duration("--scheduling-resolution", "Accepted for compatibility.", show_default="250ms")
    ] = timedelta(milliseconds=250),
    logging_level: Annotated[
        Level, _option("--logging-level", "How much is logged, to the standard error.", case_sensitive=False)
    ] = Level.INFO,
    logging_format: Annotated[
        Format | None,
        _option("--logging-format", "How it is written.", show_default="rich on a terminal, else plain"),
    ] = None,
) -> None:
    """Run a worker: take tasks off the docket and run them.

    The first SIGTERM or SIGINT (Ctrl-C) lets running tasks end; the second leaves at once and gives them back.
    Modules are also looked for in the current directory.
    """
    set_up_logging(logging_level, logging_format)
    sys.path.insert(0, str(Path.cwd()))
    made = Docket(docket, url, execution_ttl=execution_ttl, codec=named_codec(codec))
    for path in tasks or ():
        made.register_collection(path)
    ready = Worker(
        made,
        name,
        concurrency,
        redelivery_timeout,
        reconnection_delay,
        minimum_check_interval,
        scheduling_resolution,
        schedule_automatic_tasks,
        enable_internal_instrumentation,
        fallback_task,
        _resolve(dependencies),
        _bound(max_deliveries),
        shutdown_grace,
    )
    ending = run(
        run_worker(
            ready,
            until_finished=until_finished,
            healthcheck_port=healthcheck_port,
            metrics_port=metrics_port,
            opened=_require_work if schedule_automatic_tasks else require_shared,
        )
    )
    if ending is Ending.LEFT:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _require_work(docket: Docket) -> None:
    """Refuse a docket that nothing could ever come onto: of this process only, and with no automatic task."""
    kinds = [docket.functions.described(name).of_kind(Perpetual) for name in docket.tasks]
    if not any(isinstance(kind, Perpetual) and kind.automatic for kind in kinds):
        require_shared(docket)


def _bound(text: str) -> int | None:
    if text.strip().lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor 'none'", param_hint="--max-deliveries") from None


def _resolve(path: str | None) -> Mapping[str, Dependency[Any]] | Sequence[Dependency[Any]] | None:
    if path is None:
        return None
    try:
        found: object = resolve_name(path)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigurationError(f"the dependencies {path!r} cannot be found: {error}") from error
    is_one = isinstance(found, Dependency)
    if is_one:
        return [cast("Dependency[Any]", found)]
    if isinstance(found, Mapping | list | tuple):
        return cast("Mapping[str, Dependency[Any]] | Sequence[Dependency[Any]]", found)
    raise ConfigurationError(f"{path!r} is neither a dependency nor several, but a {type(found).__name__}")
