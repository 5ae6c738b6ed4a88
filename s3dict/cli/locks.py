"""Locks of a dict: ``locks``, ``unlock``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NotFoundError
from .options import AsJson, Environment, Name, Yes, confirm, describe_dict, open_dict, utf8
from .output import Column, print_json, print_result, print_table, timestamp
from .progress import progress_bar

if TYPE_CHECKING:
    from .. import Dict
    from .._admin.usage import LockUsage

app = typer.Typer()
_PANEL = "Dicts"
_COLUMNS = (
    Column("Lock", fold=True),
    Column("Kind", drop=3),
    Column("Holder", drop=2, fold=True),
    Column("Since", drop=1),
    Column("Until"),
    Column("Id", drop=4),
)
_ID_DIGITS = 12
"""How much of a lock's hash is shown, and has to be passed at least."""


@app.command(rich_help_panel=_PANEL)
def locks(name: Name, env: Environment = None, as_json: AsJson = False) -> None:
    """Show the locks of a dict that are held, with those of computations and semaphores. Times are in UTC."""
    handle = open_dict(name, env)
    held = _held_locks(handle)
    if as_json:
        print_json([_described(lock) for lock in held])
        return
    print_table(_COLUMNS, [_row(lock) for lock in held])
    if not held:
        print_result(f"No lock of {describe_dict(handle.client, name, env)} is held.")


@app.command(rich_help_panel=_PANEL)
def unlock(
    name: Name,
    lock: Annotated[
        str,
        typer.Argument(
            metavar="LOCK", help="The lock's name, or its id from `locks`.", show_default=False, callback=utf8
        ),
    ],
    env: Environment = None,
    yes: Yes = False,
) -> None:
    """Take a lock away from its holder, after confirmation. The holder finds it lost at its next renewal."""
    from .._admin.usage import take_away

    handle = open_dict(name, env)
    described = describe_dict(handle.client, name, env)
    found = [held for held in _held_locks(handle) if _is_called(held, lock)]
    if not found:
        raise NotFoundError(f"No lock {lock!r} of {described} is held: see `s3dict locks {name}`")
    for held in found:
        confirm(
            f"Take {_title(held)} of {described} away from {_holder(held)}? It may go on for up to a third of its "
            f"lease of {held.lease_seconds:g} seconds: make sure that it has stopped.",
            yes,
        )
        if take_away(handle, held):
            print_result(f"Unlocked {_title(held)} of {described}.")
        else:
            print_result(f"{_title(held)} of {described} has been released, or acquired by another process, since.")


def _held_locks(handle: Dict[Any, Any]) -> tuple[LockUsage, ...]:
    from .._admin.usage import held_locks

    with progress_bar("Reading", unit="locks") as advance:
        return held_locks(handle, advance)


def _is_called(held: LockUsage, text: str) -> bool:
    is_id = len(text) >= _ID_DIGITS and held.name_hash.startswith(text)
    return is_id or (held.details.name == text and held.details.kind != "")


def _title(held: LockUsage) -> str:
    details = held.details
    return f"{details.kind} {details.name!r}" if details.kind else f"lock {held.name_hash[:_ID_DIGITS]}"


def _holder(held: LockUsage) -> str:
    return held.details.holder or f"holder {held.owner[:8]}"


def _row(held: LockUsage) -> tuple[str, ...]:
    since = held.acquired_at or held.renewed_at
    times = timestamp(since), timestamp(held.expires_at)
    return held.details.name, held.details.kind, _holder(held), *times, held.name_hash[:_ID_DIGITS]


def _described(held: LockUsage) -> dict[str, Any]:
    details = held.details
    return {
        "name": details.name,
        "kind": details.kind,
        "id": held.name_hash,
        "holder": details.holder,
        "owner": held.owner,
        "token": held.token,
        "lease_seconds": held.lease_seconds,
        "acquired_at": None if held.acquired_at is None else held.acquired_at.isoformat(),
        "renewed_at": held.renewed_at.isoformat(),
        "expires_at": held.expires_at.isoformat(),
    }
