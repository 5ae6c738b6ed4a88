"""What commands print: tables for people, lines with tabs for a pipe, JSON for scripts, a result line on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import SerializationError

__all__ = [
    "Column",
    "duration",
    "encodable",
    "file_size",
    "fitting_columns",
    "plural",
    "print_error",
    "print_fields",
    "print_json",
    "print_result",
    "print_table",
    "print_value",
    "rendered_table",
    "spinner",
    "strip_control_characters",
    "timestamp",
    "to_json",
]

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MIN_FOLDED = 16
"""A column that may be folded is not made narrower than this while another column can be dropped instead."""
_MIN_CUT = 10
_BORDERS = 3
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Column:
    """How a column of a table behaves on a narrow terminal.

    Args:
        drop: The column with the highest number is left out first; one with 0 stays.
        fold: Cells may take several lines. Names are folded: they are never cut.
        cut: Cells may end in an ellipsis, as values do.
    """

    title: str
    drop: int = 0
    fold: bool = False
    cut: bool = False
    right: bool = False


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of the terminal's width; in a pipe, whole rows without a header, cells between tabs.

    Tabs and line ends within a cell are written as \\t, \\n and \\r. Without rows, there is no table either.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(_one_line(cell) for cell in row))
        return
    console = _console()
    # A value may have a million characters, of which the first lines are enough to fill the terminal.
    cells = [
        [
            _one_line(cell[: console.width]) if column.cut else _one_line(cell)
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    if cells:
        console.print(rendered_table(columns, cells, console.width))


def fitting_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the indices of the columns that fit into the width, without those to be dropped."""
    needed = [_least_width(column, [row[index] for row in rows]) for index, column in enumerate(columns)]
    kept = list(range(len(columns)))
    while sum(needed[index] + _BORDERS for index in kept) + 1 > width:
        droppable = [index for index in kept if columns[index].drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda index: columns[index].drop))
    return kept


def _least_width(column: Column, cells: Sequence[str]) -> int:
    from rich.cells import cell_len

    natural = max(map(cell_len, (column.title, *cells)))
    return min(natural, _MIN_FOLDED if column.fold else _MIN_CUT if column.cut else natural)


def _wanted_width(column: Column, cells: Sequence[str], width: int) -> int:
    """Return what a column gets beside one that is cut: a third of the terminal where it folds."""
    from rich.cells import cell_len

    natural = max(map(cell_len, (column.title, *cells)))
    return min(natural, max(_MIN_FOLDED, width // 3)) if column.fold else natural


def rendered_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Any:
    from rich.table import Table

    kept = fitting_columns(columns, rows, width)
    dropped = [column.title for index, column in enumerate(columns) if index not in kept]
    caption = f"Not shown on {width} columns: {', '.join(dropped)}" if dropped else None
    # Rich takes all that is missing from columns that fold: a long value would leave nothing of its key.
    reserved = _BORDERS * len(kept) + 1
    reserved += sum(_wanted_width(columns[i], [row[i] for row in rows], width) for i in kept if not columns[i].cut)
    table = Table(caption=caption, caption_justify="left")
    for index in kept:
        column = columns[index]
        overflow: Any = "ellipsis" if column.cut else "fold"
        justify: Any = "right" if column.right else "left"
        table.add_column(
            column.title,
            no_wrap=not column.fold,
            overflow=overflow,
            justify=justify,
            max_width=width - reserved if column.cut else None,
        )
    for row in rows:
        table.add_row(*(_text(row[index]) for index in kept))
    return table


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and contents: aligned on a terminal, with a tab between elsewhere."""
    if not sys.stdout.isatty():
        for name, content in fields:
            print(f"{_one_line(name)}\t{_one_line(content)}")
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, content in fields:
        grid.add_row(_text(_one_line(name), "bold"), _text(_one_line(content)))
    _console().print(grid)


def print_result(message: str) -> None:
    """Print what a command did, on stderr: stdout is for what it was asked to print."""
    print(_wrapped(encodable(strip_control_characters(message), sys.stderr)), file=sys.stderr)


def print_error(message: str) -> None:
    """Print an error: one line in a pipe, wrapped between words on a terminal."""
    line = " ".join(f"s3dict: {message}".split("\n"))
    print(_wrapped(encodable(strip_control_characters(line), sys.stderr)), file=sys.stderr)


def _wrapped(message: str) -> str:
    if not sys.stderr.isatty():
        return message
    columns = shutil.get_terminal_size().columns
    return textwrap.fill(message, columns, break_long_words=False, break_on_hyphens=False)


def print_json(content: Any) -> None:
    print(to_json(content, indent=2))


def to_json(content: Any, *, indent: int | None = None) -> str:
    """Return the content as JSON. Raises SerializationError where it is not JSON-serializable."""
    try:
        text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
        return text if encodable(text) == text else json.dumps(content, indent=indent, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"The value is not JSON-serializable: {error}. Omit --json") from error


def encodable(text: str, stream: Any = None) -> str:
    """Return the text as the terminal's encoding can show it: a store's message, or a key, may hold anything."""
    encoding = (stream or sys.stdout).encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def strip_control_characters(text: str) -> str:
    """Escape what a terminal would interpret: any process with write access may have stored it."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def timestamp(moment: datetime) -> str:
    """Return the moment in UTC, with its zone: ``2026-01-02 03:04:05Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def file_size(size: float) -> str:
    """Return a number of bytes as people read it: ``1.2 MB``."""
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            return f"{size:,.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def duration(time: timedelta | None) -> str:
    """Return a ttl in the notation of ``create --ttl``."""
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
    """Print a value for people: a string as it is, anything else as a Python literal, on as many lines as it takes."""
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
def spinner(label: str) -> Iterator[None]:
    """Show that the command is working, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _text(content: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(strip_control_characters(content), style=style)


def _one_line(cell: str) -> str:
    return encodable("".join(_ESCAPES.get(c, c) for c in cell))
