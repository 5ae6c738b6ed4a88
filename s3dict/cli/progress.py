"""Progress on stderr, on a terminal: count, rate, elapsed and remaining time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

    from .. import Dict

__all__ = ["Advance", "check_progress", "counted", "is_terminal", "no_progress", "progress_bar"]

Advance = Callable[..., None]
"""``advance(number, position=None)``: so many more are done; how far that is, where the total has another unit."""


def is_terminal() -> bool:
    return sys.stderr.isatty()


@contextmanager
def progress_bar(label: str, total: int | None, unit: str = "entries") -> Iterator[Advance]:
    """Show the progress of the block until it ends.

    Args:
        label: What is being done, such as "Importing".
        total: In the unit of `position`, or else the number to be done; None if it is unknown.
        unit: What is counted.
    """
    if not is_terminal():
        yield no_progress
        return
    done = 0
    with _progress(unit, ends=total is not None) as progress:
        task = progress.add_task(label, total=total, done=0, rate=0.0)

        def advance(number: int = 1, position: int | None = None) -> None:
            nonlocal done
            done += number
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = done / elapsed if elapsed else 0.0
            progress.update(task, completed=done if position is None else position, done=done, rate=rate)

        yield advance


def counted(handle: Dict[Any, Any]) -> int:
    """Return the number of entries of a dict, and show on a terminal how many have been listed."""
    from .._admin.usage import count_entries

    with progress_bar("Counting", None) as advance:
        return count_entries(handle, advance)


@contextmanager
def check_progress(label: str, names: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Show which of the checks is running, how many are done and how long the others will take.

    Yields:
        What is to be called with the name of each check when it starts.
    """
    if not is_terminal():
        yield lambda _: None
        return
    with _progress("checks", ends=True) as progress:
        task = progress.add_task(label, total=len(names), done=0, rate=0.0)

        def started(name: str) -> None:
            position = names.index(name) if name in names else 0
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = position / elapsed if elapsed else 0.0
            progress.update(task, description=name, completed=position, done=position, rate=rate)

        yield started


def no_progress(number: int = 1, position: int | None = None) -> None:
    """Show nothing."""


def _progress(unit: str, *, ends: bool) -> Progress:
    """Return a display of one task; `ends` says whether its total is known, and so the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    label, count = TextColumn("{task.description}"), TextColumn(f"{{task.fields[done]:,}} {unit}")
    rate = TextColumn("{task.fields[rate]:,.0f}/s")
    left = [TimeRemainingColumn(), TextColumn("left")] if ends else []
    if console.width < 72:
        # The bar and the elapsed time are what a narrow terminal can do without.
        return Progress(label, count, *(left or [rate]), console=console, transient=True)
    bar = BarColumn(bar_width=min(40, console.width - 62))
    return Progress(label, bar, count, rate, TimeElapsedColumn(), *left, console=console, transient=True)
