"""What commands print: tables for people, lines with tabs for a pipe, JSON for scripts, a result line on stderr."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import Error, SerializationError

__all__ = [
    "Column",
    "console",
    "duration",
    "encodable",
    "file_size",
    "fitting_columns",
    "naming",
    "print_error",
    "print_fields",
    "print_json",
    "print_question",
    "print_result",
    "print_table",
    "print_value",
    "rendered_table",
    "strip_control_characters",
    "terminal_size",
    "terminal_width",
    "timestamp",
    "to_json",
]

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MIN_FOLDED = 16
"""A column that may be folded is not made narrower than this while another column can be dropped instead."""
_MIN_CUT = 10
_MIN_SQUEEZED = 6
"""What a column that may be folded or cut keeps before another one is dropped that should stay."""
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
    terminal = console()
    # A value may have a million characters, of which the first lines are enough to fill the terminal.
    cells = [
        [
            _one_line(cell[: terminal.width]) if column.cut else _one_line(cell)
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    if cells:
        terminal.print(rendered_table(columns, cells, terminal.width))


def fitting_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the indices of the columns that fit into the width, without those to be dropped."""
    kept = list(range(len(columns)))
    for folded, cut in ((_MIN_FOLDED, _MIN_CUT), (_MIN_SQUEEZED, _MIN_SQUEEZED)):
        needed = [_least_width(column, [row[i] for row in rows], folded, cut) for i, column in enumerate(columns)]
        # Columns that should stay are dropped from the right where one of them would have no width.
        droppable = [index for index in kept[1:] if columns[index].drop or folded == _MIN_SQUEEZED]
        droppable.sort(key=lambda index: (columns[index].drop, index))
        while droppable and sum(needed[index] + _BORDERS for index in kept) + 1 > width:
            kept.remove(droppable.pop())
    return kept


def _least_width(column: Column, cells: Sequence[str], folded: int, cut: int) -> int:
    from rich.cells import cell_len

    natural = max(map(cell_len, (column.title, *cells)))
    return min(natural, folded if column.fold else cut if column.cut else natural)


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
    console().print(grid)


def print_result(message: str) -> None:
    """Print what a command did, on stderr: stdout is for what it was asked to print."""
    print(_wrapped(encodable(strip_control_characters(message), sys.stderr)), file=sys.stderr)


def print_question(message: str) -> None:
    """Print a question on stderr, whose answer follows on the same line."""
    print(_wrapped(encodable(strip_control_characters(message), sys.stderr)), end=" ", file=sys.stderr, flush=True)


def print_error(message: str) -> None:
    """Print an error: one line in a pipe, wrapped between words on a terminal."""
    line = " ".join(f"s3dict: {message}".split("\n"))
    print(_wrapped(encodable(strip_control_characters(line), sys.stderr)), file=sys.stderr)


def _wrapped(message: str) -> str:
    if not sys.stderr.isatty():
        return message
    return textwrap.fill(message, terminal_width(), break_long_words=False, break_on_hyphens=False)


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Name the file in an error of the system that names none, as those of reads and writes do."""
    try:
        yield
    except OSError as error:
        if error.filename is None and not isinstance(error, Error):
            error.filename = file
        raise


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


def print_value(value: Any) -> None:
    """Print a value for people: a string as it is, anything else as a Python literal, on as many lines as it takes."""
    if not sys.stdout.isatty():
        print(encodable(value if isinstance(value, str) else repr(value)))
        return
    from rich.highlighter import ReprHighlighter
    from rich.pretty import pretty_repr
    from rich.text import Text

    terminal = console()
    if isinstance(value, str):
        terminal.print(Text(strip_control_characters(value)))
    else:
        shown = strip_control_characters(pretty_repr(value, max_width=terminal.width))
        terminal.print(ReprHighlighter()(Text(shown)))


def console(*, stderr: bool = False) -> Any:
    """Return a Rich console of the terminal's size, which Rich takes for 80 columns where TERM is dumb."""
    from rich.console import Console

    columns, lines = terminal_size()
    return Console(highlight=False, stderr=stderr, width=columns, height=lines)


def terminal_width() -> int:
    """Return the columns of the terminal, if any of the standard streams is on one."""
    return terminal_size().columns


def terminal_size() -> os.terminal_size:
    """Return columns and lines; COLUMNS overrides what the terminal says, unless it is 0."""
    size = os.terminal_size((80, 24))
    for descriptor in (1, 2, 0):
        with suppress(OSError):
            size = os.get_terminal_size(descriptor)
            break
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return os.terminal_size((int(columns), size.lines))
    return size if size.columns else os.terminal_size((80, 24))


def _text(content: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(strip_control_characters(content), style=style)


def _one_line(cell: str) -> str:
    return encodable("".join(_ESCAPES.get(c, c) for c in cell))
