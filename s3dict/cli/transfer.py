"""``export`` writes the entries of a dict to a file, ``import`` writes those of a file into a dict."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from ..errors import Error
from .checkpoint import Checkpoint
from .options import AsJson, Environment, Name, Yes, confirm, open_dict
from .output import plural, print_json, print_result
from .progress import Advance, is_terminal, progress_bar

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
        Form, typer.Option("--format", help="JSON Lines, or pickles for values that are not JSON-serializable.")
    ] = Form.JSONL,
) -> None:
    """Write all entries of a dict to a file, in arbitrary order.

    With jsonl, each line is {"key": ..., "value": ...}; a key that is a tuple is an array. An entry that does not
    survive a JSON round trip ends the export. The file appears under its name when it is complete.
    """
    from .._admin.transfer import Format, write_records

    handle = open_dict(name, env)
    total = handle.len() if is_terminal() else None
    written = 0
    with _sink(file) as sink, progress_bar("Exporting", total) as advance:
        for _ in write_records(handle.items(), sink, Format(form.value)):
            written += 1
            advance()
    if file != _STANDARD:
        print_result(f"Exported {plural(written, 'entry', 'entries')} to {file}.")


@app.command("import", rich_help_panel=_PANEL)
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="The file that export wrote; - is stdin.", show_default=False)],
    env: Environment = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="Importing pickles can run any code.", show_default="detected from the file"),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep the keys that exist as they are.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted import of this file into this dict.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write the entries of a file into an existing dict, replacing entries with the same keys.

    **A file of pickles can run any code here**: import it only from a source that you trust. Without --format pickle
    the command asks for confirmation.

    The progress is recorded in FILE.progress until the import is complete. With --resume up to a thousand entries are
    written a second time.
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
        existing = f", skipped {skipped:,} that exist already" if skip_existing else ""
        print_result(f"Imported {plural(entries - skipped, 'entry', 'entries')}{existing}.")


@contextmanager
def _sink(file: Path) -> Iterator[BinaryIO]:
    if file == _STANDARD:
        yield sys.stdout.buffer
    elif file.exists() and not file.is_file():
        with file.open("wb") as sink:  # a pipe or a device cannot be replaced by a new file
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
            "these are pickles, which can run any code: pass --format pickle to import them", param_hint="--format"
        )
    confirm(f"{file} contains pickles, which can run any code here. Import it?", yes)
    return Format.PICKLE


def _import(
    handle: Dict[Any, Any], file: Path, source: BufferedReader, form: Format, skip_existing: bool, resume: bool
) -> tuple[int, int]:
    """Return the number of entries in the file, and how many of them were skipped."""
    from .._admin.transfer import put_records, read_records

    checkpoint = _checkpoint(file, handle, form, resume)
    entries = skipped = 0
    try:
        with progress_bar("Importing", checkpoint.size if checkpoint else None) as advance:
            records = _watched(read_records(source, form, checkpoint.offset if checkpoint else 0), advance)
            for batch in put_records(handle, records, skip_existing=skip_existing):
                entries += batch.entries
                skipped += batch.skipped
                if checkpoint:
                    checkpoint = checkpoint.at_offset(batch.end)
                    checkpoint.save(file)
    except Error as error:
        if checkpoint and checkpoint.offset:
            raise Error(f"{error}. --resume continues after the first {checkpoint.offset:,} bytes") from error
        raise
    if checkpoint:
        Checkpoint.remove(file)
    return entries, skipped


def _checkpoint(file: Path, handle: Dict[Any, Any], form: Format, resume: bool) -> Checkpoint | None:
    """Return where the import begins; None for what cannot be read from the middle."""
    if file == _STANDARD or not file.is_file():
        return None
    start = Checkpoint.at_start(file, handle.object_id, form.value)
    if resume:
        return start.loaded(file)
    # The dict may have been cleared since an earlier import made progress.
    Checkpoint.remove(file)
    return start


def _watched(records: Iterator[Record], advance: Advance) -> Iterator[Record]:
    for record in records:
        yield record
        advance(1, record.end)
