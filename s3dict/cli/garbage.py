"""``gc`` finds and removes the data of dicts that no longer exist."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client
from ..errors import IntegrityError, NotFoundError, plural
from .messages import raise_damaged
from .options import AsJson, Yes, confirm, location_of, valid_environment
from .output import Column, file_size, print_json, print_result, print_table
from .progress import progress_bar

if TYPE_CHECKING:
    from .._admin.garbage import OrphanedData

app = typer.Typer()
_COLUMNS = (
    Column("Dict", fold=True),
    Column("Environment", drop=2),
    Column("Id", drop=3, fold=True),
    Column("Objects", right=True),
    Column("Bytes", drop=1, right=True),
)


_EXPIRED_COLUMNS = (Column("Dict", fold=True), Column("Environment", drop=1), Column("Entries", right=True))


@app.command(rich_help_panel="Dicts")
def gc(
    env: Annotated[
        str | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME",
            help="Only leftovers of dicts of this environment.",
            show_default="all environments",
            callback=valid_environment,
        ),
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="Remove expired entries of existing dicts instead; reads every entry.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove what interrupted deletes and crashed ephemeral dicts have left behind, after confirmation.

    The lifecycle rules of `s3dict init` delete most of it in time, except for dicts whose entries never expire.
    """
    if expired:
        _expire(env, dry_run, yes, as_json)
        return
    from .._admin.garbage import find_garbage

    client = Client.from_env()
    with progress_bar("Searching", unit="dicts") as advance:
        found = find_garbage(client, env, advance)
    if not as_json:
        print_table(_COLUMNS, [_row(garbage) for garbage in found])
        print_result(_summary(found, client))
    removed: list[OrphanedData] = []
    if found and not dry_run:
        confirm(f"Remove {plural(sum(garbage.objects for garbage in found), 'object')}?", yes)
        removed = _remove(client, found)
        if not as_json:
            print_result(f"Removed {plural(sum(garbage.objects for garbage in removed), 'object')}.")
    if as_json:
        print_json({"dry_run": dry_run, "garbage": [_described(garbage, garbage in removed) for garbage in found]})


def _expire(env: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    from .._admin.expired import dicts_of, expire

    client, damaged = Client.from_env(), list[IntegrityError]()
    with progress_bar("Searching", unit="dicts") as advance:
        dicts = dicts_of(client, env, advance, damaged.append)
    if dicts and not dry_run:
        confirm(f"Remove the expired entries of {plural(len(dicts), 'dict')}?", yes)
    counts: list[tuple[str, str, int]] = []
    with progress_bar("Reading", len(dicts)) as advance:
        for position, (environment, handle) in enumerate(dicts):
            name, on_read = handle.name or "", partial(advance, position=position)
            with suppress(NotFoundError):  # deleted since the listing
                counts.append((name, environment, expire(handle, dry_run=dry_run, on_read=on_read)))
    if as_json:
        described = [{"name": name, "environment": where, "entries": count} for name, where, count in counts]
        print_json({"dry_run": dry_run, "expired": described})
        raise_damaged(damaged)
        return
    print_table(_EXPIRED_COLUMNS, [(name, where, str(count)) for name, where, count in counts if count])
    total = sum(count for _, _, count in counts)
    print_result(f"{'Found' if dry_run else 'Removed'} {plural(total, 'expired entry', 'expired entries')}.")
    raise_damaged(damaged)


def _remove(client: Client, found: list[OrphanedData]) -> list[OrphanedData]:
    from .._admin.garbage import remove_garbage

    with progress_bar("Removing", sum(garbage.objects for garbage in found), "objects") as advance:
        return [garbage for garbage in found if remove_garbage(client, garbage, on_deleted=advance)]


def _summary(found: list[OrphanedData], client: Client) -> str:
    if not found:
        return f"Nothing to remove in {location_of(client)}."
    objects, size = sum(garbage.objects for garbage in found), sum(garbage.size for garbage in found)
    return f"{plural(objects, 'object')} ({file_size(size)}) of {plural(len(found), 'deleted dict')}."


def _row(garbage: OrphanedData) -> tuple[str, ...]:
    dict_id = garbage.dict_id
    return dict_id.name or "", dict_id.environment or "", str(dict_id), str(garbage.objects), str(garbage.size)


def _described(garbage: OrphanedData, removed: bool) -> dict[str, Any]:
    return {
        "id": str(garbage.dict_id),
        "name": garbage.dict_id.name,
        "environment": garbage.dict_id.environment,
        "path": garbage.root,
        "objects": garbage.objects,
        "bytes": garbage.size,
        "removed": removed,
    }
