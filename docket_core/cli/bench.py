"""`docket bench`"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import complain, console, print_json
from docket_core.cli.session import AsJson

if TYPE_CHECKING:
    from docket_core.bench.results import Results


def bench(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            help="Stores to measure side by side; each may be named more than once, with other options.",
            show_default="memory and a temporary SQLite file",
            envvar="DOCKET_BENCH_URLS",
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", metavar="NAME", help="Only this one; may be repeated.", show_default="all of them"),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", metavar="N", help="Interleaved rounds.", min=1, show_default="5; 1 if quick"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One small round: half a minute a URL, for a look.")] = False,
    soak: Annotated[
        int | None, typer.Option("--soak", metavar="N", help="Look at a worker's memory over so many tasks.", min=100)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write all figures there, as JSON.", dir_okay=False)
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write a table there.", dir_okay=False)] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a chart there.", dir_okay=False)] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", metavar="BEFORE AFTER", help="Measure nothing: compare two files of --output."),
    ] = None,
    noise: Annotated[
        float, typer.Option("--noise", help="With --compare: a change of less than this share is noise.", min=0)
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Measure docket-core on stores of yours, side by side: adding, draining, latency, lateness, cost.

    The dockets that are measured have names of their own, and nothing of them is left unless it fails. Compare figures
    of one run, or of one machine: rounds are interleaved, and medians are shown with the lowest and the highest.
    """
    if compare is not None:
        _compare(*compare, noise, as_json)
        return
    results = _measure(urls or [], scenario or [], rounds, soak, quick=quick, silent=as_json)
    _write(results, output, markdown, svg)
    if as_json:
        print_json(results.as_plain())
    else:
        _show(results)
    for failure in results.failures:
        complain(f"{failure['contestant']} failed at {failure['scenario']}: {failure['why']}")
    if results.failures:
        raise typer.Exit(ExitCode.NO)


# What measures is imported by those who measure: no other command waits for it.


def _measure(
    urls: list[str], names: list[str], rounds: int | None, soak: int | None, *, quick: bool, silent: bool
) -> "Results":
    from docket_core.bench.run import chosen, take  # noqa: PLC0415
    from docket_core.bench.stores import side_by_side  # noqa: PLC0415

    with TemporaryDirectory(prefix="docket-bench-") as folder:
        places = urls or ["memory://bench", f"sqlite:///{Path(folder).resolve() / 'docket.db'}"]
        out = None if silent else console(stderr=True)
        try:
            return take(side_by_side(places), chosen(names), rounds=rounds, quick=quick, soak=soak, out=out)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _write(results: "Results", output: Path | None, markdown: Path | None, svg: Path | None) -> None:
    from docket_core.bench import chart, tables  # noqa: PLC0415

    if output is not None:
        results.write(output)
    if markdown is not None:
        markdown.write_text(tables.markdown(results), encoding="utf-8")
    if svg is not None:
        svg.write_text(chart.svg(results), encoding="utf-8")


def _show(results: "Results") -> None:
    from docket_core.bench.tables import for_terminal, where  # noqa: PLC0415

    out = console()
    for line in where(results):
        out.print(line, soft_wrap=True)
    out.print(for_terminal(results))


def _compare(before: Path, after: Path, noise: float, as_json: bool) -> None:
    from docket_core.bench.compare import as_plain, as_table, compare  # noqa: PLC0415
    from docket_core.bench.results import read  # noqa: PLC0415

    rows = compare(read(before), read(after), noise)
    if as_json:
        print_json(as_plain(rows))
    else:
        console().print(as_table(rows))
    if not rows:
        complain("the two files have no figure in common")
        raise typer.Exit(ExitCode.NO)
