"""What is seen while the demo runs: a line for each event, and on a terminal a live bar."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


class Screen:
    """Shows events and progress; without a console it shows nothing."""

    def __init__(self, out: Console | None) -> None:
        self._out = out
        self._began = time.monotonic()
        self._bars: Progress | None = None
        self._note: Callable[[int, int, str], None] | None = None

    def live(self, total: int) -> AbstractContextManager[object]:
        """The live part, as long as it is entered."""
        if self._out is None or not self._out.is_terminal:
            return nullcontext()
        bars = self._bars = Progress(
            SpinnerColumn(),
            TextColumn("[bold]tasks ended"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._out,
            transient=True,
        )
        bar = bars.add_task("", total=total, note="")
        self._note = lambda ended, total, note: bars.update(bar, completed=ended, total=total, note=note)
        return bars

    def progress(self, ended: int, total: int, running: int, waiting: int) -> None:
        """How far the tasks are."""
        if self._note is not None:
            self._note(ended, total, f"{running:>3} running {waiting:>5} waiting")

    def event(self, what: str, text: str, style: str = "cyan") -> None:
        """Something has happened."""
        if self._out is not None:
            moment = f"{time.monotonic() - self._began:5.1f} s"
            out = self._bars.console if self._bars is not None else self._out
            if not out.is_terminal:
                out.print(f"{moment}  {what:<8}  {escape(text)}", soft_wrap=True)
                return
            line = Table.grid(padding=(0, 2))
            line.add_row(Text(moment, style="dim"), Text(f"{what:<8}", style=style, no_wrap=True), Text(text))
            out.print(line)
