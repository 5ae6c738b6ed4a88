"""Dicts as a whole: ``create``, ``list``, ``info``, ``clear``, ``delete``."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client, Dict
from .options import AsJson, Environment, Name, Yes, confirm, environment_of, location_of, open_dict
from .output import duration, print_fields, print_json, print_table, spinner

if TYPE_CHECKING:
    from .._dict import DictInfo

app = typer.Typer()
_PANEL = "Dicts"
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _ttl(text: str) -> timedelta | None:
    if text == "none":
        return None
    parts = re.findall(r"(\d{1,9})([wdhms])", text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is not like 7d, 12h, 1h30m or none")
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


@app.command(rich_help_panel=_PANEL)
def create(
    name: Name,
    env: Environment = None,
    ttl: Annotated[
        str | None,
        typer.Option(
            help="How long an entry lives after it was last read or written: 7d, 12h, 30m; none for ever.",
            show_default="7d",
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="What values are: cloudpickle, json or bytes.", show_default="cloudpickle"),
    ] = None,
) -> None:
    """Create a dict. If there is one of that name, nothing is done; to ask for another ttl or codec is an error."""
    choice: dict[str, Any] = {} if ttl is None else {"ttl": _ttl(ttl)}
    Dict.from_name(name, environment_name=env, create_if_missing=True, codec=codec, **choice).hydrate()


@app.command("list", rich_help_panel=_PANEL)
def list_(env: Environment = None, as_json: AsJson = False) -> None:
    """List the dicts of an environment, newest first."""
    with spinner("Listing"):
        found = Dict.objects.list(environment_name=env or "")
    if as_json:
        print_json([_described(handle, env) for handle in found])
        return
    print_table(("Name", "Created at", "Created by", "TTL", "Codec"), [_row(handle.info()) for handle in found])
    if not found:
        client = Client.from_env()
        place = f"environment {environment_of(client, env)!r} of {location_of(client)}"
        print(f"There are no dicts in {place}: s3dict create makes one.", file=sys.stderr)


@app.command(rich_help_panel=_PANEL)
def info(name: Name, env: Environment = None, as_json: AsJson = False) -> None:
    """Tell what a dict is: when, by whom and with which ttl and codec it was created."""
    described = _described(open_dict(name, env), env)
    if as_json:
        print_json(described)
        return
    seconds = described.pop("ttl_seconds")
    described["ttl"] = duration(None if seconds is None else timedelta(seconds=seconds))
    print_fields((label, str(content)) for label, content in described.items())


@app.command(rich_help_panel=_PANEL)
def clear(name: Name, env: Environment = None, yes: Yes = False) -> None:
    """Remove all entries of a dict. It asks first."""
    handle = open_dict(name, env)
    confirm(f"Remove all entries of {_describe_dict(handle, env)}?", yes)
    with spinner("Clearing"):
        handle.clear()


@app.command(rich_help_panel=_PANEL)
def delete(
    name: Name,
    env: Environment = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="If there is no such dict, that is no error.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Delete a dict with all its entries. It asks first."""
    if not yes and not allow_missing:
        open_dict(name, env)
    confirm(f"Delete {_describe_dict(Dict.from_name(name), env)} with all its entries?", yes)
    with spinner("Deleting"):
        Dict.objects.delete(name, environment_name=env, allow_missing=allow_missing)


def _describe_dict(handle: Dict[Any, Any], env: str | None) -> str:
    client = handle.client
    return f"Dict {handle.name!r} in environment {environment_of(client, env)!r} of {location_of(client)}"


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


def _row(about: DictInfo) -> tuple[str, ...]:
    created_at = about.created_at.strftime("%Y-%m-%d %H:%M:%S")
    return about.name or "", created_at, about.created_by or "", duration(about.ttl), about.codec
