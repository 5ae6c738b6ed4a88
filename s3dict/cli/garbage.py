"""``gc`` finds and removes data that belongs to no dict any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client
from .options import AsJson, Yes, confirm, location_of
from .output import plural, print_json, print_table, spinner

if TYPE_CHECKING:
    from .._admin.garbage import OrphanedData

app = typer.Typer()


@app.command(rich_help_panel="Dicts")
def gc(
    env: Annotated[
        str | None,
        typer.Option("--env", "-e", help="Only what is left of this environment's dicts.", show_default="everything"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is left of dicts that are gone: interrupted deletes, ephemeral dicts whose process died.

    The rules of `s3dict init` sweep most of it in time, but for dicts that keep entries for ever. It asks first.
    """
    from .._admin.garbage import find_garbage, remove_garbage

    client = Client.from_env()
    with spinner("Looking"):
        found = find_garbage(client, env)
    if not as_json:
        print_table(("Dict", "Environment", "Id", "Objects", "Bytes"), [_row(garbage) for garbage in found])
        print(_summary(found, client), file=sys.stderr)
    removed: list[OrphanedData] = []
    if found and not dry_run:
        confirm(f"Remove {plural(sum(garbage.objects for garbage in found), 'object')}?", yes)
        with spinner("Removing"):
            removed += (garbage for garbage in found if remove_garbage(client, garbage))
    if as_json:
        print_json({"dry_run": dry_run, "garbage": [_described(garbage, garbage in removed) for garbage in found]})


def _summary(found: list[OrphanedData], client: Client) -> str:
    if not found:
        return f"Nothing is left over in {location_of(client)}."
    objects, size = sum(garbage.objects for garbage in found), sum(garbage.size for garbage in found)
    return f"{plural(objects, 'object')} ({plural(size, 'byte')}) of {plural(len(found), 'dict')} that are gone."


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
