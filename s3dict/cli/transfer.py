"""``export`` writes the entries of a dict to a file, ``import`` writes those of a file into a dict."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from io import BufferedReader
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from .. import Client
from ..errors import Error, IntegrityError, InvalidError, NotFoundError, plural
from .checkpoint import Checkpoint
from .messages import raise_damaged
from .options import (
    AsJson,
    Environment,
    Yes,
    complete_name,
    confirm,
    environment_of,
    location_of,
    open_dict,
    valid_name,
)
from .output import naming, print_json, print_result
from .progress import Advance, counted, is_terminal, is_terminal_beside_output, progress_bar

if TYPE_CHECKING:
    from .. import Dict
    from .._admin.transfer import Format, Record

app = typer.Typer()
_PANEL = "Files"
_STANDARD = Path("-")
_HEAD_BYTES = 16
_GZIP = b"\x1f\x8b"


class Form(Enum):
    """The formats by name: the module that knows them is not loaded for ``--help``."""

    JSONL = "jsonl"
    PICKLE = "pickle"


def _complete_name_or_file(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of dicts; none with --all, so that the shell completes files."""
    return [] if context.params.get("all_") else complete_name(context, incomplete)


NameOrFile = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The dict's name; with --all, the file.",
        autocompletion=_complete_name_or_file,
        show_default=False,
    ),
]
AllDicts = Annotated[
    bool,
    typer.Option("--all", help="All dicts of the environment, with ttl and codec, in the format of backups."),
]


@app.command(rich_help_panel=_PANEL)
def export(
    name: NameOrFile,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write.", show_default="- for stdout")
    ] = None,
    env: Environment = None,
    all_: AllDicts = False,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="JSON Lines, or pickles for values that are not JSON-serializable.",
            show_default=Form.JSONL.value,
        ),
    ] = None,
) -> None:
    """Write all entries of a dict to a file, in arbitrary order; or all dicts, with `export --all FILE`.

    With jsonl, each line is {"key": ..., "value": ...}; a key that is a tuple is an array. An entry that does not
    survive a JSON round trip ends the export. A backup of all dicts contains every value as it is stored, and the
    expiry of entries that have one of their own. The file appears under its name when it is complete.
    """
    from .._admin.transfer import Format, export_items, settings_of, write_records

    if all_:
        _require_only_file(file, form)
        _export_all(Path(name), env)
        return
    target, form = file or _STANDARD, form or Form.JSONL
    handle = open_dict(valid_name(name), env)
    is_shown = _shows_progress(target)
    total = counted(handle) if is_shown else None
    written = 0
    with _sink(target) as sink, progress_bar("Exporting", total, is_shown=is_shown) as advance:
        for _ in write_records(export_items(handle), sink, Format(form.value), settings_of(handle)):
            written += 1
            advance()
    if target != _STANDARD:
        print_result(f"Exported {plural(written, 'entry', 'entries')} to {target}.")


@app.command("import", rich_help_panel=_PANEL)
def import_(
    name: NameOrFile,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file that export wrote; - is stdin.", show_default=False),
    ] = None,
    env: Environment = None,
    all_: AllDicts = False,
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
    create: Annotated[
        bool, typer.Option("--create", help="Create a missing dict with the ttl and codec that the file contains.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write the entries of a file into a dict, replacing entries with the same keys.

    `import --all FILE` restores the dicts of a backup, and creates those that do not exist. No value is deserialized.

    **A file of pickles can run any code here**: import it only from a source that you trust. Without --format pickle
    the command asks for confirmation.

    The progress is recorded in FILE.progress until the import is complete. With --resume up to a thousand entries are
    written a second time; a backup continues in the dict that was being restored.
    """
    if all_:
        _require_only_file(file, form)
        _check_resumable(Path(name), resume)
        entries, skipped = _import_all(Path(name), env, skip_existing, resume)
    else:
        source = _checked_source(name, file, resume, create)
        entries, skipped = _import_dict(source, _Import(name, env, form, skip_existing, resume, create, yes))
    if as_json:
        print_json({"entries": entries, "skipped": skipped})
    else:
        existing = f", skipped {skipped:,} that exist already" if skip_existing else ""
        print_result(f"Imported {plural(entries - skipped, 'entry', 'entries')}{existing}.")


def _checked_source(name: str, file: Path | None, resume: bool, create: bool) -> Path:
    if file is None:
        raise typer.BadParameter("pass a file, or - for stdin", param_hint="FILE")
    _check_resumable(file, resume)
    if create and file == _STANDARD:
        raise typer.BadParameter("the settings of a dict cannot be read from stdin", param_hint="--create")
    valid_name(name)
    return file


def _check_resumable(file: Path, resume: bool) -> None:
    if resume and file == _STANDARD:
        raise typer.BadParameter("stdin cannot be resumed", param_hint="--resume")


@dataclass(frozen=True, slots=True)
class _Import:
    """What the command was called with."""

    name: str
    env: str | None
    form: Form | None
    skip_existing: bool
    resume: bool
    create: bool
    yes: bool


def _import_dict(file: Path, options: _Import) -> tuple[int, int]:
    with _source(file) as source:
        form = _format_of(source, file, options.form, options.yes)
        open_ = partial(_open_or_create, file=file, form=form) if options.create else open_dict
        handle = open_(options.name, options.env)
        return _import(handle, file, source, form, options.skip_existing, options.resume)


def _require_only_file(file: Path | None, form: Form | None) -> None:
    if file is not None:
        raise typer.BadParameter("with --all, the only argument is the file", param_hint="FILE")
    if form is not None:
        raise typer.BadParameter("a backup has a format of its own", param_hint="--all, --format")


def _open_or_create(name: str, env: str | None, file: Path, form: Format) -> Dict[Any, Any]:
    """Return the dict; where it is missing, create it as the file says."""
    from .. import Dict
    from .._admin.transfer import read_settings

    try:
        return open_dict(name, env)
    except NotFoundError:
        if not file.is_file():
            raise InvalidError(f"The settings of a dict cannot be read from {file}, which is not a file") from None
        with file.open("rb") as source:
            settings = read_settings(source, form)
        options: dict[str, Any] = {} if settings is None else {"ttl": settings.ttl, "codec": settings.codec}
        return Dict.from_name(name, environment_name=env, create_if_missing=True, **options).hydrate()


def _export_all(file: Path, env: str | None) -> None:
    from .._admin.backup import write_backup

    client = Client.from_env()
    environment = environment_of(client, env)
    counts: dict[str, int] = {}
    is_shown = _shows_progress(file)
    total, damaged = _entries_in(client, environment) if is_shown else None, list[IntegrityError]()
    with _sink(file) as sink, progress_bar("Exporting", total, is_shown=is_shown) as advance:
        for name, number in write_backup(client, environment, sink, damaged.append):
            counts[name] = number
            advance(1 if number else 0)
    if file != _STANDARD:
        entries = plural(sum(counts.values()), "entry", "entries")
        print_result(f"Exported {plural(len(counts), 'dict')} with {entries} to {file}.")
    raise_damaged(damaged)


def _shows_progress(target: Path) -> bool:
    return is_terminal_beside_output() if target == _STANDARD else is_terminal()


def _entries_in(client: Client, environment: str) -> int:
    """Count the entries of all dicts for the progress, which only a terminal shows."""
    from .._admin.usage import list_dicts

    with progress_bar("Listing", unit="dicts") as advance:
        handles = list_dicts(client, environment, lambda _, total: advance(1, total=total), lambda _: None)
    return sum(map(counted, handles))


def _import_all(file: Path, env: str | None, skip_existing: bool, resume: bool) -> tuple[int, int]:
    from .._admin.backup import read_backup

    client = Client.from_env()
    environment = environment_of(client, env)
    checkpoint = _checkpoint(file, f"all of {environment} in {location_of(client)}", "backup", resume)
    start = (checkpoint.offset, checkpoint.last_dict) if checkpoint else (0, "")
    entries = skipped = 0
    with (
        _source(file) as source,
        _resumable(file, checkpoint) as save,
        progress_bar("Importing", checkpoint.size if checkpoint else None) as advance,
    ):
        for done in read_backup(client, environment, source, skip_existing=skip_existing, start=start):
            entries += done.entries
            skipped += done.skipped
            save(done.position, done.dict_id)
            advance(done.entries, done.position)
    return entries, skipped


@contextmanager
def _sink(file: Path) -> Iterator[BinaryIO]:
    if file == _STANDARD:
        with naming("standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
    elif file.exists() and not file.is_file():
        with naming(str(file)), file.open("wb") as sink:  # a pipe or a device cannot be replaced by a new file
            yield sink
    else:
        target = file.resolve()
        part = target.with_name(f"{target.name}.part")
        try:
            with _ending_at_sigterm(), naming(str(file)), part.open("wb") as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block, where it would end the process and leave an incomplete file."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _source(file: Path) -> Iterator[BufferedReader]:
    if file != _STANDARD:
        with file.open("rb") as source:
            if source.peek(2).startswith(_GZIP):
                raise InvalidError(
                    f"{file} is compressed. Import it with: gunzip -c {quote(str(file))} | s3dict import … -"
                )
            yield source
        return
    source = BufferedReader(cast(Any, sys.stdin.buffer))
    try:
        with naming("standard input"):
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

    checkpoint = _checkpoint(file, handle.object_id, form.value, resume)
    entries = skipped = 0
    with (
        _resumable(file, checkpoint) as save,
        progress_bar("Importing", checkpoint.size if checkpoint else None) as advance,
    ):
        records = _watched(read_records(source, form, checkpoint.offset if checkpoint else 0), advance)
        for batch in put_records(handle, records, skip_existing=skip_existing):
            entries += batch.entries
            skipped += batch.skipped
            save(batch.end)
    return entries, skipped


@contextmanager
def _resumable(file: Path, checkpoint: Checkpoint | None) -> Iterator[Callable[..., None]]:
    """Yield what saves the progress; remove it after the block, or name --resume in the error that ends it."""

    def save(offset: int, last_dict: str = "") -> None:
        nonlocal checkpoint
        if checkpoint:
            checkpoint = checkpoint.at_offset(offset, last_dict)
            checkpoint.save(file)

    try:
        yield save
    except (Error, KeyboardInterrupt) as error:
        if isinstance(error, InvalidError):
            # A damaged file has to be replaced, and then the progress is not of the same file.
            Checkpoint.remove(file)
            raise
        if not (checkpoint and checkpoint.offset):
            raise
        hint = f"--resume continues after the first {checkpoint.offset:,} bytes"
        if isinstance(error, Error):
            raise Error(f"{error}. {hint}") from error
        error.add_note(hint)
        raise
    if checkpoint:
        Checkpoint.remove(file)


def _checkpoint(file: Path, dict_id: str, form: str, resume: bool) -> Checkpoint | None:
    """Return where the import begins; None for what cannot be read from the middle."""
    if file == _STANDARD or not file.is_file():
        return None
    start = Checkpoint.at_start(file, dict_id, form)
    if resume:
        return start.loaded(file)
    # The dict may have been cleared since an earlier import made progress.
    Checkpoint.remove(file)
    return start


def _watched(records: Iterator[Record], advance: Advance) -> Iterator[Record]:
    for record in records:
        yield record
        advance(1, record.end)
