"""Dicts as a whole: ``create``, ``list``, ``info``, ``clear``, ``delete``."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client, Dict
from .._format.layout import MIN_TTL, SWEEP_DAYS, SWEEP_MARGIN, validate_ttl
from ..errors import AlreadyExistsError, Error, IntegrityError, InvalidError, NotFoundError, plural
from .messages import no_such_dict, raise_damaged
from .options import AsJson, Environment, Name, Yes, confirm, describe_dict, environment_of, location_of, open_dict
from .output import (
    Column,
    duration,
    file_size,
    print_fields,
    print_json,
    print_result,
    print_table,
    timestamp,
)
from .progress import counted, is_terminal, progress_bar

if TYPE_CHECKING:
    from .._admin.usage import Usage

app = typer.Typer()
_PANEL = "Dicts"
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_COLUMNS = (
    Column("Name", fold=True),
    Column("Created at", drop=2),
    Column("Created by", drop=4, fold=True),
    Column("TTL", drop=1),
    Column("Codec", drop=3),
)
_SIZE_COLUMNS = (Column("Entries", right=True), Column("Size", right=True))


class Codec(Enum):
    CLOUDPICKLE = "cloudpickle"
    JSON = "json"
    BYTES = "bytes"


def _ttl(text: str) -> timedelta | None:
    if text == "none":
        return None
    parts = re.findall(r"(\d{1,9})([wdhms])", text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is not like 7d, 12h, 1h30m or none", param_hint="--ttl")
    ttl = sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    try:
        return validate_ttl(ttl)
    except InvalidError as error:
        limits = f"{duration(MIN_TTL)} to {duration(timedelta(days=SWEEP_DAYS[-1]) / SWEEP_MARGIN)}"
        raise typer.BadParameter(f"{text} is out of range: choose {limits}, or none", param_hint="--ttl") from error


@app.command(rich_help_panel=_PANEL)
def create(
    name: Name,
    env: Environment = None,
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long an entry lives after it was last read or written: 7d, 12h, 30m; with none it never expires.",
            show_default="7d",
        ),
    ] = None,
    codec: Annotated[
        Codec | None, typer.Option(help="How values are encoded.", show_default=Codec.CLOUDPICKLE.value)
    ] = None,
) -> None:
    """Create a dict. If it exists, nothing is changed; it is an error if it has another ttl or codec."""
    chosen: dict[str, Any] = {} if ttl is None else {"ttl": _ttl(ttl)}
    if codec is not None:
        chosen["codec"] = codec.value
    client = Client.from_env()
    try:
        Dict.objects.create(name, environment_name=env, client=client, **chosen)
    except AlreadyExistsError:
        about = Dict.from_name(name, environment_name=env, client=client).info()
        _require_same("ttl", name, duration(about.ttl), duration(chosen.get("ttl", about.ttl)))
        _require_same("codec", name, about.codec, chosen.get("codec", about.codec))
        print_result(f"{describe_dict(client, name, env)} exists already.")
    else:
        print_result(f"Created {describe_dict(client, name, env)}.")


def _require_same(setting: str, name: str, actual: str, requested: str) -> None:
    if actual != requested:
        raise Error(
            f"Dict {name!r} has the {setting} {actual}, not {requested}: it is fixed when the dict is created. "
            f"Omit --{setting}, or choose another name"
        )


@app.command("list", rich_help_panel=_PANEL)
def list_(
    env: Environment = None,
    size: Annotated[
        bool, typer.Option("--size", "-s", help="Count entries and bytes: one more listing for each dict.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the dicts of an environment, newest first. Times are in UTC.

    A dict whose manifest is damaged is an error after all others have been listed; with --json it has the field error.
    """
    client = Client.from_env()
    environment = environment_of(client, env)
    damaged = list[IntegrityError]()
    found = _listed(client, environment, damaged.append)
    measured = _measured(found) if size else [(handle, None) for handle in found]
    if as_json:
        unreadable = [{"name": e.dict_name, "environment": environment, "error": str(e)} for e in damaged]
        print_json([*(_described(handle, env) | _sizes(usage) for handle, usage in measured), *unreadable])
        raise_damaged(damaged)
        return
    columns = (_COLUMNS[0], *_SIZE_COLUMNS, *_COLUMNS[1:]) if size else _COLUMNS
    print_table(columns, [_row(handle, usage) for handle, usage in measured])
    raise_damaged(damaged)
    if not found:
        where = f"environment {environment!r} of {location_of(client)}"
        print_result(f"There are no dicts in {where}. Create one with: s3dict create NAME")


@app.command(rich_help_panel=_PANEL)
def info(name: Name, env: Environment = None, as_json: AsJson = False) -> None:
    """Show a dict's metadata: when and by whom it was created, its ttl and codec."""
    handle = open_dict(name, env)
    described = _described(handle, env)
    if as_json:
        print_json(described)
        return
    described["created_at"] = timestamp(handle.info().created_at)
    seconds = described.pop("ttl_seconds")
    described["ttl"] = duration(None if seconds is None else timedelta(seconds=seconds))
    print_fields((label, str(content)) for label, content in described.items())


@app.command(rich_help_panel=_PANEL)
def clear(name: Name, env: Environment = None, yes: Yes = False) -> None:
    """Remove all entries of a dict, after confirmation. The dict stays."""
    from .._admin.removal import clear_dict

    handle = open_dict(name, env)
    described = describe_dict(handle.client, name, env)
    total = counted(handle) if is_terminal() or not yes else None
    confirm(f"Remove {'all' if total is None else plural(total, 'entry', 'entries')} of {described}?", yes)
    with progress_bar("Clearing", total) as advance:
        removed = clear_dict(handle, advance)
    print_result(f"Removed {plural(removed, 'entry', 'entries')} of {described}.")


@app.command(rich_help_panel=_PANEL)
def delete(
    name: Name,
    env: Environment = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="It is not an error if the dict does not exist.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete a dict and all its entries, after confirmation."""
    from .._admin.removal import delete_dict

    client = Client.from_env()
    environment, described = environment_of(client, env), describe_dict(client, name, env)
    total = None
    if is_terminal() or not yes:
        try:
            total = counted(open_dict(name, env))
        except NotFoundError:
            if not allow_missing:
                raise
    confirm(f"Delete {described} with {'all entries' if total is None else plural(total, 'entry', 'entries')}?", yes)
    with progress_bar("Deleting", total) as advance:
        removed = delete_dict(client, environment, name, advance)
    if removed is not None:
        print_result(f"Deleted {described} with {plural(removed, 'entry', 'entries')}.")
    elif allow_missing:
        print_result(f"{described} does not exist: nothing to delete.")
    else:
        raise no_such_dict(name, environment)


def _listed(client: Client, environment: str, on_damaged: Callable[[IntegrityError], None]) -> list[Dict[Any, Any]]:
    from .._admin.usage import list_dicts

    with progress_bar("Listing", unit="dicts") as advance:
        return list_dicts(client, environment, lambda _, total: advance(1, total=total), on_damaged)


def _measured(handles: list[Dict[Any, Any]]) -> list[tuple[Dict[Any, Any], Usage | None]]:
    from .._admin.usage import measure

    measured: list[tuple[Dict[Any, Any], Usage | None]] = []
    with progress_bar("Counting", len(handles)) as advance:
        for position, handle in enumerate(handles):
            with suppress(NotFoundError):  # deleted since the listing
                measured.append((handle, measure(handle, on_counted=partial(advance, position=position))))
    return measured


def _sizes(usage: Usage | None) -> dict[str, int]:
    return {} if usage is None else {"entries": usage.entries, "bytes": usage.size}


def _described(handle: Dict[Any, Any], env: str | None) -> dict[str, Any]:
    about = handle.info()
    return {
        "name": about.name,
        "environment": environment_of(handle.client, env),
        "id": handle.object_id,
        "created_at": about.created_at.isoformat(),
        "created_by": about.created_by,
        "ttl_seconds": None if about.ttl is None else about.ttl.total_seconds(),
        "codec": about.codec,
    }


def _row(handle: Dict[Any, Any], usage: Usage | None = None) -> tuple[str, ...]:
    about = handle.info()
    sizes = () if usage is None else (f"{usage.entries:,}", file_size(usage.size))
    rest = (timestamp(about.created_at), about.created_by or "", duration(about.ttl), about.codec)
    return about.name or "", *sizes, *rest
