"""``rekey`` signs the entries of a dict with the newest signing key, and shows which carry another one."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from ..errors import plural
from .options import AsJson, Environment, Name, describe_dict, open_dict
from .output import Column, print_json, print_result, print_table
from .progress import counted, is_terminal, progress_bar

app = typer.Typer()
_COLUMNS = (Column("Key", fold=True), Column("Signed with"))


@app.command(rich_help_panel="Files")
def rekey(
    name: Name,
    env: Environment = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be signed, and write nothing.")] = False,
    sign_unsigned: Annotated[
        bool,
        typer.Option(
            "--sign-unsigned",
            help="Also sign entries that have no signature. Any process with write access can have written them: with "
            "this option you vouch for them.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign all entries of a dict with the first key of S3DICT_SIGNING_KEYS.

    The other keys verify what is stored. Entries that are signed with the first key already are skipped, so an
    interrupted run is resumed by repeating it. A concurrent write is kept. No value is deserialized.

    The entries that carry another key afterwards are printed, and the exit code is 1 if there are any.
    """
    from .._admin.rekey import KeyState
    from .._admin.rekey import rekey as sign_entries
    from .._admin.usage import shown_key

    handle = open_dict(name, env)
    total = counted(handle) if is_terminal() else None
    counts = Counter({"signed": 0} | {state.value: 0 for state in KeyState})
    remaining: list[tuple[str, str]] = []
    with progress_bar("Signing", total) as advance:
        for entry in sign_entries(handle, dry_run=dry_run, sign_unsigned=sign_unsigned):
            advance()
            counts["signed" if entry.signed else entry.state.value] += 1
            if not entry.signed and entry.state is not KeyState.NEWEST:
                remaining.append((shown_key(handle, entry.path), entry.state.value))
    if as_json:
        print_json({"entries": dict(counts), "remaining": [{"key": key, "signed_with": by} for key, by in remaining]})
    else:
        print_table(_COLUMNS, remaining)
        print_result(
            f"{describe_dict(handle.client, name, env)}: signed {plural(counts['signed'], 'entry', 'entries')}, "
            f"{counts[KeyState.NEWEST.value]:,} had the newest signature already, {len(remaining):,} carry another one "
            "or none."
        )
    raise typer.Exit(1 if remaining else 0)
