"""``export`` writes the entries of a dict to a file, ``import`` puts those of a file into a dict."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from ..errors import Error
from .checkpoint import Checkpoint
from .options import AsJson, Environment, Name, Yes, confirm, open_dict
from .output import plural, print_json
from .progress import is_terminal, progress_bar

if TYPE_CHECKING:
    from .. import Dict
    from .._admin.transfer import Format, Record

app = typer.Typer()
_PANEL = "Files"
_STANDARD = Path("-")
_HEAD_BYTES = 16


class Form(Enum):
    """The formats by name: the module that knows them is not loaded for ``--help``."""

    JSONL = "jsonl"
    PICKLE = "pickle"


@app.command(rich_help_panel=_PANEL)
def export(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Where to write; - is stdout.")] = _STANDARD,
    env: Environment = None,
    form: Annotated[
        Form, typer.Option("--format", help="JSON Lines, or pickles for what JSON cannot say.")
    ] = Form.JSONL,
) -> None:
    """Write all entries of a dict to a file, in no order.

    With jsonl, each line is {"key": ..., "value": ...}; a key that is a tuple is an array. An entry that would not come
    back from JSON as it is ends the export. A file shows up under its name when it is complete.
    """
    from .._admin.transfer import Format, write_records

    handle = open_dict(name, env)
    total = handle.len() if is_terminal() else None
    written = 0
    with _sink(file) as sink, progress_bar("Exporting", total) as step:
        for written, _ in enumerate(write_records(handle.items(), sink, Format(form.value)), start=1):
            step(written)
    if file != _STANDARD:
        print(f"{plural(written, 'entry', 'entries')} exported to {file}.", file=sys.stderr)


@app.command("import", rich_help_panel=_PANEL)
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="What export wrote; - is stdin.", show_default=False)],
    env: Environment = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Importing pickles runs code.", show_default="by the file's beginning"),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave the keys that are in the dict as they are.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted import of this file into this dict came to.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put the entries of a file into a dict, which must exist: others with the same keys are replaced.

    **A file of pickles can run any code here**: import one only from whom you trust. Without --format pickle it asks.

    How far it has come is kept in FILE.progress until it is done. With --resume up to a thousand entries are put a
    second time.
    """
    if resume and file == _STANDARD:
        raise typer.BadParameter("stdin cannot be resumed", param_hint="--resume")
    with _source(file) as source:
        chosen = _format_of(source, file, form, yes)
        handle = open_dict(name, env)
        entries, skipped = _import(handle, file, source, chosen, skip_existing, resume)
    if as_json:
        print_json({"entries": entries, "skipped": skipped})
    else:
        told = f" {skipped:,} of them were there and are skipped." if skip_existing else ""
        print(f"{plural(entries, 'entry', 'entries')} imported.{told}", file=sys.stderr)


@contextmanager
def _sink(file: Path) -> Iterator[BinaryIO]:
    if file == _STANDARD:
        yield sys.stdout.buffer
    elif file.exists() and not file.is_file():
        with file.open("wb") as sink:  # a pipe or a device: there is nothing to put in its place
            yield sink
    else:
        target = file.resolve()
        part = target.with_name(f"{target.name}.part")
        try:
            with part.open("wb") as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _source(file: Path) -> Iterator[BufferedReader]:
    if file != _STANDARD:
        with file.open("rb") as source:
            yield source
        return
    source = BufferedReader(cast(Any, sys.stdin.buffer))
    try:
        yield source
    finally:
        source.detach()


def _format_of(source: BufferedReader, file: Path, form: Form | None, yes: bool) -> Format:
    from .._admin.transfer import Format, is_pickle

    if form is not None:
        return Format(form.value)
    if not is_pickle(source.peek(_HEAD_BYTES)):
        return Format.JSONL
    if file == _STANDARD and not yes:
        raise typer.BadParameter(
            "these are pickles, which can run any code: say so to import them", param_hint="--format"
        )
    confirm(f"{file} holds pickles, which can run any code here. Import it?", yes)
    return Format.PICKLE


def _import(
    handle: Dict[Any, Any], file: Path, source: BufferedReader, form: Format, skip_existing: bool, resume: bool
) -> tuple[int, int]:
    """How many entries were imported, and how many of these skipped."""
    from .._admin.transfer import put_records, read_records

    checkpoint = _checkpoint(file, handle, form, resume)
    entries = skipped = 0
    try:
        with progress_bar("Importing", checkpoint.size if checkpoint else None) as step:
            records = _watched(read_records(source, form, checkpoint.offset if checkpoint else 0), step)
            for batch in put_records(handle, records, skip_existing=skip_existing):
                entries += batch.entries
                skipped += batch.skipped
                if checkpoint:
                    checkpoint = checkpoint.at_offset(batch.end)
                    checkpoint.save(file)
    except Error as error:
        if checkpoint and checkpoint.offset:
            raise Error(f"{error}. --resume goes on after the first {checkpoint.offset:,} bytes") from error
        raise
    if checkpoint:
        Checkpoint.remove(file)
    return entries, skipped


def _checkpoint(file: Path, handle: Dict[Any, Any], form: Format, resume: bool) -> Checkpoint | None:
    """Where the import begins; None for what cannot be read from its middle."""
    if file == _STANDARD or not file.is_file():
        return None
    start = Checkpoint.at_start(file, handle.object_id, form.value)
    if resume:
        return start.loaded(file)
    # The dict may have been cleared since an earlier import got somewhere.
    Checkpoint.remove(file)
    return start


def _watched(records: Iterator[Record], step: Callable[[int], None]) -> Iterator[Record]:
    for record in records:
        yield record
        step(record.end)
