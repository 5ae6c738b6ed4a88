"""Entries, one or a few at a time: ``get``, ``put``, ``pop``, ``items``, ``keys``, ``len``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import Error, NotFoundError, SerializationError, UncertainOutcomeError, plural
from .options import AsJson, Environment, Key, KeyIsJson, Name, describe_dict, key_of, open_dict
from .output import Column, naming, print_error, print_json, print_result, print_table, print_value, to_json
from .progress import Advance, counted, is_terminal, is_terminal_beside_output, progress_bar

if TYPE_CHECKING:
    from .. import Dict

T = TypeVar("T")

app = typer.Typer()
_PANEL = "Entries"
_SHOWN = 20
_COLUMNS = (Column("Key", fold=True), Column("Value", cut=True))
_MISSING = object()

Count = Annotated[
    int | None, typer.Argument(metavar="N", help="How many entries to print.", min=0, show_default=str(_SHOWN))
]
Number = Annotated[int | None, typer.Option("--number", "-n", metavar="N", help="The same as the argument N.", min=0)]
All = Annotated[bool, typer.Option("--all", "-a", help="Print all entries, whatever N is.")]
Raw = Annotated[bool, typer.Option("--raw", help="Write exactly the bytes of a value that is bytes or a string.")]


@app.command(rich_help_panel=_PANEL)
def get(
    name: Name,
    key: Key,
    env: Environment = None,
    key_json: KeyIsJson = False,
    as_json: AsJson = False,
    raw: Raw = False,
) -> None:
    """Print the value of a key: a string as it is, anything else as a Python literal.

    The exit code is 1 if the key does not exist.
    """
    _check_exclusive(as_json, raw)
    handle, decoded = open_dict(name, env), key_of(key, key_json)
    value = handle.get(decoded, _MISSING)
    if value is _MISSING:
        raise _no_such_key(handle, env, decoded)
    _print(value, as_json, raw)


@app.command(rich_help_panel=_PANEL)
def put(
    name: Name,
    key: Key,
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="The value, a string unless --json is given; - reads it from stdin."),
    ] = None,
    env: Environment = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Read the value from this file.", exists=True, dir_okay=False),
    ] = None,
    key_json: KeyIsJson = False,
    as_json: Annotated[bool, typer.Option("--json", help="The value is JSON.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The value is bytes, as it always is for a dict with codec bytes.")
    ] = False,
    skip_if_exists: Annotated[
        bool,
        typer.Option("--skip-if-exists", help="Fail with exit code 1 if the key exists."),
    ] = False,
) -> None:
    """Store a value under a key.

    --skip-if-exists is atomic: exactly one concurrent caller succeeds, with exit code 0.
    """
    from .._admin.transfer import key_repr

    _check_exclusive(as_json, raw)
    data = _input(value, file)
    handle = open_dict(name, env)
    is_bytes = raw or (handle.info().codec == "bytes" and not as_json)
    content = data if is_bytes else _decoded(data, as_json)
    decoded = key_of(key, key_json)
    where = describe_dict(handle.client, name, env)
    if not handle.put(decoded, content, skip_if_exists=skip_if_exists):
        raise Error(f"Key {key_repr(decoded)} exists already in {where}")
    print_result(f"Stored key {key_repr(decoded)} in {where}.")


@app.command(rich_help_panel=_PANEL)
def pop(
    name: Name,
    key: Key,
    env: Environment = None,
    key_json: KeyIsJson = False,
    as_json: AsJson = False,
    raw: Raw = False,
) -> None:
    """Remove a key and print its value, as get does. Exactly one concurrent caller gets it.

    The exit code is 1 if the key does not exist.
    """
    _check_exclusive(as_json, raw)
    handle, decoded = open_dict(name, env), key_of(key, key_json)
    try:
        value = handle.pop(decoded, _MISSING)
    except UncertainOutcomeError as error:
        # This may be the last copy of it. The message need not say then which attribute of the error it is.
        print_value(error.value)
        error.value = None
        raise
    if value is _MISSING:
        raise _no_such_key(handle, env, decoded)
    try:
        _print(value, as_json, raw)
        sys.stdout.flush()
    except SerializationError as error:
        raise SerializationError(f"{error}. {_put_back(handle, decoded, value)}") from error
    except OSError as error:
        message = f"The value cannot be written: {error.strerror or error}. {_put_back(handle, decoded, value)}"
        # A reader that has closed the pipe gets no message from any other command, but may have lost a value here.
        print_error(message)
        raise typer.Exit(1) from error


@app.command(rich_help_panel=_PANEL)
def items(
    name: Name,
    n: Count = None,
    env: Environment = None,
    number: Number = None,
    all_: All = False,
    use_repr: Annotated[bool, typer.Option("--repr", "-r", help="Print keys and values as Python literals.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array of objects with key and value; all, unless N is given.")
    ] = False,
) -> None:
    """Print up to N entries, in arbitrary order."""
    limit, show = _limit(n, number, all_, as_json), repr if use_repr else str
    handle = open_dict(name, env)
    as_document = (lambda entry: {"key": entry[0], "value": entry[1]}) if as_json else None
    _print_found(handle, handle.items(), limit, _COLUMNS, lambda entry: (show(entry[0]), show(entry[1])), as_document)


@app.command(rich_help_panel=_PANEL)
def keys(
    name: Name,
    n: Count = None,
    env: Environment = None,
    number: Number = None,
    all_: All = False,
    use_repr: Annotated[bool, typer.Option("--repr", "-r", help="Print keys as Python literals.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array; of all, unless N is given.")] = False,
) -> None:
    """Print up to N keys, in arbitrary order.

    No value is read: the keys of values that cannot be deserialized here are printed too.
    """
    limit, show = _limit(n, number, all_, as_json), repr if use_repr else str
    handle = open_dict(name, env)
    as_document = (lambda key: key) if as_json else None
    _print_found(handle, handle.keys(), limit, _COLUMNS[:1], lambda key: (show(key),), as_document)


@app.command("len", rich_help_panel=_PANEL)
def len_(name: Name, env: Environment = None, as_json: AsJson = False) -> None:
    """Print the exact number of entries of a dict."""
    number = counted(open_dict(name, env))
    if as_json:
        print_json(number)
    else:
        print(number)


def _limit(n: int | None, number: int | None, all_: bool, as_json: bool) -> int | None:
    if n is not None and number is not None:
        raise typer.BadParameter("give it once", param_hint="N, --number")
    n = number if n is None else n
    if all_ or (as_json and n is None):
        return None
    return _SHOWN if n is None else n


def _print_found(
    handle: Dict[Any, Any],
    found: Iterator[T],
    limit: int | None,
    columns: Sequence[Column],
    as_row: Callable[[T], tuple[str, ...]],
    as_document: Callable[[T], Any] | None,
) -> None:
    """Print up to `limit` of what was found, as JSON where there is a function for that."""
    with _reading(handle, limit, as_document is not None) as advance:
        entries = _advancing(islice(found, limit), advance)
        if as_document is not None:
            _print_array(map(as_document, entries))
            return
        rows: Iterable[tuple[str, ...]] = map(as_row, entries)
        if sys.stdout.isatty():
            rows = list(rows)  # the table is printed when the progress has been removed from the terminal
        else:
            print_table(columns, rows)
    if sys.stdout.isatty():
        print_table(columns, rows)
    if limit is not None and next(found, None) is not None:
        print_result(f"There are more than {plural(limit, 'entry', 'entries')}: pass another number, or --all.")


def _reading(handle: Dict[Any, Any], limit: int | None, as_json: bool) -> AbstractContextManager[Advance]:
    """Show how many of the entries have been read, unless they appear on the same terminal as they arrive."""
    is_shown = is_terminal_beside_output() if as_json else is_terminal()
    total = counted(handle) if is_shown and limit is None else limit
    return progress_bar("Reading", total, is_shown=is_shown)


def _advancing(entries: Iterable[T], advance: Advance) -> Iterator[T]:
    for entry in entries:
        yield entry
        advance()


def _put_back(handle: Dict[Any, Any], key: Any, value: Any) -> str:
    if handle.put(key, value, skip_if_exists=True):
        return "The value was put back"
    return "It was not put back, because another process has stored this key since"


def _check_exclusive(as_json: bool, raw: bool) -> None:
    if as_json and raw:
        raise typer.BadParameter("choose one of them", param_hint="--json, --raw")


def _no_such_key(handle: Dict[Any, Any], env: str | None, key: Any) -> NotFoundError:
    from .._admin.transfer import key_repr

    where = describe_dict(handle.client, handle.name or "", env)
    return NotFoundError(f"There is no key {key_repr(key)} in {where}")


def _print(value: Any, as_json: bool, raw: bool) -> None:
    if raw:
        sys.stdout.buffer.write(_bytes_of(value))
        sys.stdout.buffer.flush()
    elif as_json:
        print(to_json(value))
    else:
        print_value(value)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise SerializationError(f"A value of type {type(value).__name__} is not bytes. Omit --raw")
    return bytes(value)


def _input(value: str | None, file: Path | None) -> bytes:
    if (value is None) == (file is None):
        raise typer.BadParameter("give a value, - for stdin, or --file", param_hint="VALUE")
    if file is not None:
        return file.read_bytes()
    if value != "-":
        return (value or "").encode(errors="surrogateescape")
    with naming("standard input"):
        return sys.stdin.buffer.read()


def _decoded(data: bytes, as_json: bool) -> Any:
    try:
        return json.loads(data) if as_json else data.decode()
    except ValueError as error:
        advice = "is not JSON" if as_json else "is not UTF-8 text: use --raw to store it as bytes"
        raise typer.BadParameter(f"it {advice} ({error})", param_hint="VALUE") from error


def _print_array(entries: Iterable[Any]) -> None:
    """Print one entry on each line as it arrives: there may be millions."""
    opening = "["
    for entry in entries:
        print(opening, to_json(entry), sep="\n ", end="")
        opening = ","
    print("[]" if opening == "[" else "\n]")
