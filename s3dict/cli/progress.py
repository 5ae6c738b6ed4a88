"""Progress on stderr, on a terminal: count, rate, elapsed and remaining time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import plural
from .output import console

if TYPE_CHECKING:
    from rich.progress import Progress

    from .. import Dict

__all__ = [
    "Advance",
    "Steps",
    "counted",
    "is_dumb_terminal",
    "is_terminal",
    "is_terminal_beside_output",
    "progress_bar",
    "step_progress",
]

_BAR_COLUMNS = 72
"""On a narrower terminal neither the bar nor the elapsed time is shown."""


class Advance(Protocol):
    def __call__(self, number: int = 1, position: int | None = None, total: int | None = None) -> None:
        """Show that so many more are done.

        Args:
            number: How many.
            position: How far that is, where the total has another unit.
            total: What is to be done, if it is only known now.
        """


@dataclass(frozen=True, slots=True)
class Steps:
    """The display of a command with named steps.

    Args:
        started: To be called with the name of each step when it starts.
        paused: A context in which the display is removed, so that the command can print.
    """

    started: Callable[[str], None]
    paused: Callable[[], AbstractContextManager[None]]


def is_terminal() -> bool:
    """Return whether progress is shown: on a terminal that can remove it again."""
    return sys.stderr.isatty() and not is_dumb_terminal()


def is_dumb_terminal() -> bool:
    """Return whether the terminal can only append lines."""
    return os.environ.get("TERM") in ("dumb", "unknown")


def is_terminal_beside_output() -> bool:
    """Return whether progress is shown while results are printed: on the same terminal they show it themselves."""
    return is_terminal() and not sys.stdout.isatty()


@contextmanager
def progress_bar(
    label: str, total: int | None = None, unit: str = "entries", *, is_shown: bool | None = None
) -> Iterator[Advance]:
    """Show the progress of the block until it ends.

    Args:
        label: What is being done, such as "Importing".
        total: In the unit of `position`, or else the number to be done; None if it is unknown.
        unit: What is counted.
        is_shown: Whether it is shown at all; None is `is_terminal()`.
    """
    guard, done = threading.Lock(), 0
    is_shown = is_terminal() if is_shown is None else is_shown
    with _progress() if is_shown else nullcontext() as progress:
        task = progress.add_task(label, total=total, count=_count(0, unit), rate=0.0) if progress else None

        def advance(number: int = 1, position: int | None = None, total: int | None = None) -> None:
            nonlocal done
            with guard:  # concurrent requests report from several threads
                done += number
            if progress is not None and task is not None:
                elapsed = progress.tasks[task].elapsed or 0.0
                rate = done / elapsed if elapsed else 0.0
                completed = done if position is None else position
                progress.update(task, completed=completed, total=total, count=_count(done, unit), rate=rate)

        try:
            yield advance
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"{label} stopped after {_count(done, unit)}")
            raise


def counted(handle: Dict[Any, Any]) -> int:
    """Return the number of entries of a dict, and show on a terminal how many have been listed."""
    from .._admin.usage import count_entries

    with progress_bar("Counting") as advance:
        return count_entries(handle, advance)


@contextmanager
def step_progress(label: str, names: Sequence[str], unit: str = "steps") -> Iterator[Steps]:
    """Show which step of several is in progress, how many are done and how long the others will take."""
    if not is_terminal():
        yield Steps(lambda _: None, nullcontext)
        return
    with _progress() as progress:
        task = progress.add_task(label, total=len(names), count=_count(0, unit), rate=0.0)

        def started(name: str) -> None:
            position = names.index(name) if name in names else 0
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = position / elapsed if elapsed else 0.0
            progress.update(task, description=name, completed=position, count=_count(position, unit), rate=rate)

        @contextmanager
        def paused() -> Iterator[None]:
            progress.stop()
            try:
                yield
            finally:
                progress.start()

        yield Steps(started, paused)


def _count(number: int, unit: str) -> str:
    """Return a number of what is counted in `unit`, which is a plural."""
    return plural(number, "entry" if unit == "entries" else unit.removesuffix("s"), unit)


def _progress() -> Progress:
    """Return a display of one task, with the time left as soon as its total is known."""
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as RemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Ending(ProgressColumn):
        """The time left; on a narrow terminal the rate instead, as long as that is not known."""

        remaining = RemainingColumn()

        def render(self, task: Task) -> Text:
            if task.total is not None and (is_wide or task.time_remaining is not None):
                return Text.assemble(self.remaining.render(task), " left")
            return Text("" if is_wide else f"{task.fields['rate']:,.0f}/s")

    terminal = console(stderr=True)
    is_wide = terminal.width >= _BAR_COLUMNS
    # Only the label is wrapped where a narrow terminal has too few columns for all.
    whole = partial(Column, no_wrap=True)
    label, count = TextColumn("{task.description}"), TextColumn("{task.fields[count]}", table_column=whole())
    middle: tuple[ProgressColumn, ...] = (count,)
    if is_wide:
        bar = BarColumn(bar_width=min(40, terminal.width - 62))
        middle = (bar, count, TextColumn("{task.fields[rate]:,.0f}/s"), TimeElapsedColumn())
    # The results of the command go to its own stdout, which may be a file, and not to this console.
    return Progress(label, *middle, Ending(whole()), console=terminal, transient=True, redirect_stdout=False)
