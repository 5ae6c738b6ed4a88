"""``watch`` prints what changes in a dict; ``top`` shows the dicts of an environment. Both repeat listings."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Client
from ..errors import IntegrityError, NotFoundError, plural
from .messages import raise_damaged
from .options import Environment, Name, describe_dict, environment_of, location_of, open_dict
from .output import (
    Column,
    console,
    encodable,
    file_size,
    print_result,
    print_table,
    rendered_table,
    terminal_size,
    terminal_width,
    timestamp,
)
from .progress import is_dumb_terminal, is_terminal, progress_bar

if TYPE_CHECKING:
    from .. import Dict
    from .._admin.usage import EntryState, LockUsage, Usage

app = typer.Typer()
_PANEL = "Monitoring"
_LIST_PRICE = 0.005 / 1000
"""Dollars for a listing request at AWS (us-east-1, S3 Standard); a GET costs a twelfth of it."""
_GET_PRICE = 0.0004 / 1000
_PAGE_SIZE = 1000
_TOP_COLUMNS = (
    Column("Dict", fold=True),
    Column("Entries", right=True),
    Column("Change/s", drop=3, right=True),
    Column("Size", drop=1, right=True),
    Column("Locks", right=True),
    Column("Holders", drop=2, fold=True),
)
_HOLDERS_SHOWN = 3
_MAX_INTERVAL = 86400.0

Interval = Annotated[
    float,
    typer.Option("--interval", "-i", metavar="SECONDS", help="Seconds between listings.", min=0.1, max=_MAX_INTERVAL),
]
Times = Annotated[
    int | None,
    typer.Option("--times", metavar="N", help="Stop after N listings.", min=1, show_default="until Ctrl-C"),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object on each line.")]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an entry between two listings."""

    kind: str
    key: str
    size: int
    at: datetime


@app.command(rich_help_panel=_PANEL)
def watch(
    name: Name, env: Environment = None, interval: Interval = 2.0, times: Times = None, as_json: JsonLines = False
) -> None:
    """Print the entries that are added, written and removed, until Ctrl-C.

    It compares listings: two writes of a key between two of them are one change, and the renewal of an
    entry's ttl counts as a write. Keys that are too long for an object's name are shown as their hash.
    """
    handle = open_dict(name, env)
    previous: dict[str, EntryState] | None = None
    with suppress(KeyboardInterrupt):  # Ctrl-C is how these commands are meant to end
        for _ in _ticks(interval, times):
            current = _listed(handle, is_first=previous is None)
            if previous is None:
                _announce_watch(handle, env, len(current), interval)
            else:
                for change in _changes(handle, previous, current):
                    _print_change(change, as_json)
            previous = current


@app.command(rich_help_panel=_PANEL)
def top(env: Environment = None, interval: Interval = 2.0, times: Times = None, as_json: JsonLines = False) -> None:
    """Show the dicts of an environment with their entries, bytes, locks and holders, refreshed until Ctrl-C."""
    client = Client.from_env()
    where = f"environment {environment_of(client, env)!r} of {location_of(client)}"
    live = screen = None
    damaged: list[IntegrityError] = []
    previous: dict[str, tuple[int, float]] = {}
    with suppress(KeyboardInterrupt), ExitStack() as displays:
        for tick in _ticks(interval, times):
            damaged.clear()
            usages, now = _usages(client, env, damaged, is_first=tick == 0), time.monotonic()
            rates = {name: _rate(previous.get(name), usage.entries, now) for name, usage in usages.items()}
            previous = {name: (usage.entries, now) for name, usage in usages.items()}
            if as_json:
                print(json.dumps(_snapshot(usages, damaged)), flush=True)
                continue
            rows = [_row(name, usage, rates[name]) for name, usage in usages.items()]
            rows += [(error.dict_name or "", "damaged", "", "", "", "") for error in damaged]
            if not sys.stdout.isatty() or is_dumb_terminal():
                print_table(_TOP_COLUMNS, rows)
                sys.stdout.flush()
                continue
            live = live or displays.enter_context(_live())
            live.console.size = terminal_size()
            screen = _screen(rows, where, _cost(usages.values(), interval))
            live.update(screen, refresh=True)
    if screen is not None:
        console().print(screen)  # the screen that it was shown on has been left
    raise_damaged(damaged)


def _ticks(interval: float, times: int | None) -> Iterator[int]:
    """Yield the number of each listing, `interval` seconds apart from start to start."""
    count = 0
    while times is None or count < times:
        started = time.monotonic()
        yield count
        count += 1
        if times is None or count < times:
            time.sleep(max(0.0, started + interval - time.monotonic()))


def _listed(handle: Dict[Any, Any], *, is_first: bool) -> dict[str, EntryState]:
    from .._admin.usage import list_entries

    with progress_bar("Listing", is_shown=is_first and is_terminal()) as advance:
        return list_entries(handle, advance)


def _changes(
    handle: Dict[Any, Any], previous: dict[str, EntryState], current: dict[str, EntryState]
) -> Iterator[Change]:
    from .._admin.usage import shown_key

    now = datetime.now(UTC)
    for path, entry in current.items():
        if path not in previous:
            yield Change("added", shown_key(handle, path), entry.size, entry.last_modified)
        elif entry.etag != previous[path].etag:
            yield Change("written", shown_key(handle, path), entry.size, entry.last_modified)
    for path in previous.keys() - current.keys():
        yield Change("removed", shown_key(handle, path), previous[path].size, now)


_MARKS = {"added": ("+", "green"), "written": ("~", "yellow"), "removed": ("-", "red")}


def _print_change(change: Change, as_json: bool) -> None:
    if as_json:
        line = {"change": change.kind, "key": change.key, "bytes": change.size, "at": change.at.isoformat()}
        print(json.dumps(line), flush=True)
    elif sys.stdout.isatty():
        mark, colour = _MARKS[change.kind]
        text = f"{timestamp(change.at)} {mark} {change.key} ({file_size(change.size)})"
        typer.echo(typer.style(encodable(text), fg=colour))
    else:
        print("\t".join((timestamp(change.at), change.kind, encodable(change.key), str(change.size))), flush=True)


def _announce_watch(handle: Dict[Any, Any], env: str | None, entries: int, interval: float) -> None:
    requests = _list_requests(entries)
    dollars = requests * _LIST_PRICE * 3600 / interval
    print_result(
        f"Watching {describe_dict(handle.client, handle.name or '', env)}: {plural(entries, 'entry', 'entries')}, "
        f"{plural(requests, 'request')} every {interval:g} s (${dollars:.2f} an hour at AWS). Ctrl-C ends it."
    )


def _list_requests(entries: int) -> int:
    return max(1, math.ceil(entries / _PAGE_SIZE))


def _cost(usages: Any, interval: float) -> str:
    lists, gets = 1, 0
    for usage in usages:
        lists += _list_requests(usage.entries) + 1
        gets += 1 + len(usage.locks)
    dollars = (lists * _LIST_PRICE + gets * _GET_PRICE) * 3600 / interval
    return f"{lists + gets} requests every {interval:g} s: ${dollars:.2f} an hour at AWS. Ctrl-C ends it."


def _usages(client: Client, env: str | None, damaged: list[IntegrityError], *, is_first: bool) -> dict[str, Usage]:
    from .._admin.usage import list_dicts, measure

    usages = {}
    handles = list_dicts(client, environment_of(client, env), lambda _done, _total: None, damaged.append)
    with progress_bar("Reading", len(handles), is_shown=is_first and is_terminal()) as advance:
        for position, handle in enumerate(handles):
            with suppress(NotFoundError):  # deleted since the listing
                on_counted = partial(advance, position=position)
                usages[handle.name or ""] = measure(handle, with_locks=True, on_counted=on_counted)
    return usages


def _rate(earlier: tuple[int, float] | None, entries: int, now: float) -> float | None:
    if earlier is None or now <= earlier[1]:
        return None
    return (entries - earlier[0]) / (now - earlier[1])


def _row(name: str, usage: Usage, rate: float | None) -> tuple[str, ...]:
    holders = [_holder(lock) for lock in usage.locks[:_HOLDERS_SHOWN]]
    if len(usage.locks) > _HOLDERS_SHOWN:
        holders.append(f"and {len(usage.locks) - _HOLDERS_SHOWN} more")
    change = "" if rate is None else f"{rate:+,.1f}"
    return name, f"{usage.entries:,}", change, file_size(usage.size), str(len(usage.locks)), ", ".join(holders)


def _holder(lock: LockUsage) -> str:
    """Return the lock's name and who holds it; of a lock of release 0.1, which lacks both, its hash and owner id."""
    name, holder = lock.details.name or lock.name_hash[:8], lock.details.holder or lock.owner[:8]
    return f"{name}: {holder} since {lock.acquired_at or lock.renewed_at:%H:%M:%SZ}"


def _snapshot(usages: dict[str, Usage], damaged: list[IntegrityError]) -> dict[str, Any]:
    dicts: list[dict[str, Any]] = [
        {
            "name": name,
            "entries": usage.entries,
            "bytes": usage.size,
            "locks": [
                {
                    "name": lock.details.name,
                    "holder": lock.details.holder,
                    "name_hash": lock.name_hash,
                    "owner": lock.owner,
                    "lease_seconds": lock.lease_seconds,
                    "renewed_at": lock.renewed_at.isoformat(),
                }
                for lock in usage.locks
            ],
        }
        for name, usage in usages.items()
    ]
    dicts += [{"name": error.dict_name, "error": str(error)} for error in damaged]
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "dicts": dicts}


def _live() -> Any:
    from rich.live import Live

    return Live(console=console(), screen=True, auto_refresh=False)


def _screen(rows: list[tuple[str, ...]], where: str, cost: str) -> Any:
    from rich.console import Group
    from rich.text import Text

    now = timestamp(datetime.now(UTC))
    head = Text(f"{now}  {plural(len(rows), 'dict')} in {where}", style="bold")
    body = rendered_table(_TOP_COLUMNS, rows, terminal_width()) if rows else Text("There are no dicts.")
    return Group(head, body, Text(cost, style="dim"))
