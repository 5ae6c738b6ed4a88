"""A bar on stderr, where somebody looks: how many entries, how many a second, how long it will take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["is_terminal", "progress_bar"]

Step = Callable[[int], None]
"""Says that one more entry is done, and how far that is, in the unit of the total."""


def is_terminal() -> bool:
    return sys.stderr.isatty()


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Step]:
    """Shows the progress of the block until it ends; `total` is None when nobody knows it."""
    if not is_terminal():
        yield lambda _: None
        return
    entries = 0
    with _progress() as progress:
        task = progress.add_task(what, total=total, entries=0, rate=0.0)

        def step(at_offset: int) -> None:
            nonlocal entries
            entries += 1
            elapsed = progress.tasks[task].elapsed or 0.0
            progress.update(task, completed=at_offset, entries=entries, rate=entries / elapsed if elapsed else 0.0)

        yield step


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[entries]:,} entries"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
