"""What commands print: tables for people, lines with tabs for a pipe, JSON for scripts, a word while they work."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ..errors import SerializationError

__all__ = [
    "duration",
    "encodable",
    "plural",
    "print_fields",
    "print_json",
    "print_table",
    "print_value",
    "spinner",
    "strip_control_characters",
    "to_json",
]

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """On a terminal a table that keeps to its width; elsewhere whole rows without a header, cells between tabs.

    Tabs and line ends within a cell are written as \\t, \\n and \\r. Without rows, there is no table either.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_one_line(cell) for cell in row))
        return
    from rich.table import Table

    console, table = _console(), Table()
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        # A row holds no more than fits: a value may have a million characters.
        table.add_row(*(_text(cell[: console.width]) for cell in row))
    if table.row_count:
        console.print(table)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names with what they stand for: aligned on a terminal, with a tab between elsewhere."""
    if not sys.stdout.isatty():
        print_table((), fields)
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, content in fields:
        grid.add_row(_text(name, "bold"), _text(content))
    _console().print(grid)


def print_json(content: Any) -> None:
    print(to_json(content, indent=2))


def to_json(content: Any, *, indent: int | None = None) -> str:
    """Raises SerializationError for what JSON cannot say."""
    try:
        text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
        return text if encodable(text) == text else json.dumps(content, indent=indent, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"JSON cannot say this: {error}. Leave --json out") from error


def encodable(text: str) -> str:
    """The text as the terminal's encoding can show it: a store's message, or a key, may hold anything."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def strip_control_characters(text: str) -> str:
    """Without what a terminal would obey: anybody may have put it there."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def duration(time: timedelta | None) -> str:
    """As ``create --ttl`` takes it."""
    if time is None:
        return "none"
    parts = []
    seconds = int(time.total_seconds())
    for letter, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{letter}")
    return "".join(parts)


def plural(number: int, what: str, many: str = "") -> str:
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def print_value(value: Any) -> None:
    """For people: a string as it is, anything else as Python writes it. All of it, on as many lines as it takes."""
    if not sys.stdout.isatty():
        print(encodable(value if isinstance(value, str) else repr(value)))
        return
    from rich.highlighter import ReprHighlighter
    from rich.pretty import pretty_repr
    from rich.text import Text

    console = _console()
    if isinstance(value, str):
        console.print(Text(strip_control_characters(value)))
    else:
        console.print(ReprHighlighter()(Text(strip_control_characters(pretty_repr(value, max_width=console.width)))))


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Shows that something goes on, where somebody looks."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _text(content: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(strip_control_characters(_one_line(content)), style=style)


def _one_line(cell: str) -> str:
    return encodable("".join(_ESCAPES.get(c, c) for c in cell))
