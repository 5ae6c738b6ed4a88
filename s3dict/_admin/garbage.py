"""Orphaned data: what interrupted deletes and ephemeral dicts of killed processes leave behind.

A dict's manifest is written before its first entry and deleted before its last. If data is listed, and its manifest is
missing after that, the dict is not one that is being created: it was deleted, and its id is never used again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from .._client import Client
from .._core.catalog import load
from .._core.listing import check_progress, delete_all, is_ordered, read_folder, scan
from .._format.layout import UNORDERED_FANOUT, DataPaths, DictId, Layout, validate_name
from .._record import replace
from .._stores.base import ObjectStore, Page
from .._stores.shared.threads import run_blocking
from ..errors import IntegrityError

__all__ = ["OrphanedData", "find_garbage", "remove_garbage"]

_LEVELS_ABOVE_DATA = 4


@dataclass(frozen=True, slots=True)
class OrphanedData:
    """The remaining data of a deleted dict. ``size`` is in bytes."""

    dict_id: DictId
    root: str
    objects: int
    size: int
    fanout: int = 0


class OnProgress(Protocol):
    def __call__(self, number: int, position: int | None = None, total: int | None = None) -> None:
        """Receive the number of dicts found since the last call, and then how many are checked, of how many."""


def find_garbage(
    client: Client,
    environment_name: str | None = None,
    on_progress: OnProgress | None = None,
) -> list[OrphanedData]:
    """Return the orphaned data under the client's prefix, oldest dict first.

    The lifecycle rules delete most of it in time, but not the data of dicts with ``ttl=None``. Expired entries, and
    locks, are not garbage while their dict exists. An ephemeral dict whose process died is garbage as soon as its
    manifest was swept, two days after its last heartbeat.

    Requests: 7, up to 1 for each thousand objects or each dict, whichever are fewer, 1 for each dict, and a listing of
    what is garbage.

    Args:
        client: Names the bucket and the prefix.
        environment_name: The environment of the deleted dicts; None for all, ephemeral ones too.
        on_progress: Called after each listing and each check.

    Raises:
        InvalidError: The name of the environment is invalid.
    """
    if environment_name is not None:
        validate_name(environment_name, "environment")
    store, concurrency = client._store(aio=False), client._settings.concurrency
    return run_blocking(_find(store, client._layout, environment_name, concurrency, on_progress or _ignore))


def remove_garbage(client: Client, garbage: OrphanedData, on_deleted: Callable[[int], None] = lambda _: None) -> bool:
    """Delete orphaned data, after checking again that it is; return whether it was deleted.

    Requests: 1, a listing, and 1 for each thousand objects.
    """
    return run_blocking(_remove(client._store(aio=False), client._layout, garbage, on_deleted))


def _ignore(number: int, position: int | None = None, total: int | None = None) -> None:
    pass


async def _find(
    store: ObjectStore, layout: Layout, environment: str | None, concurrency: int, on_progress: OnProgress
) -> list[OrphanedData]:
    """Return the orphaned data of all dicts under the prefix, or of the named ones of an environment."""

    async def roots_in(folder: str) -> list[tuple[DictId, DataPaths]]:
        owners = []
        async for owner in _owning_dicts(store, layout, folder):
            owners.append(owner)
            on_progress(1)
        return owners

    async def orphaned(owner: tuple[DictId, DataPaths]) -> tuple[DictId, DataPaths] | None:
        return owner if await _is_orphaned(store, layout, owner[0]) else None

    folders = layout.data_folders(environment)
    listed = [owners async for owners in store.runtime.map(roots_in, folders, concurrency)]
    # Locks are in no folder, so that only a part of the paths of a dict may show its fanout.
    by_fanout = sorted(chain.from_iterable(listed), key=lambda owner: owner[1].fanout)
    distinct = {owner[1].root: owner for owner in by_fanout}
    orphans, checked = [], 0
    async for owner in store.runtime.map(orphaned, distinct.values(), concurrency):
        checked += 1
        on_progress(0, checked, len(distinct))
        if owner is not None:
            orphans.append(owner)
    found = []
    for dict_id, paths in sorted(orphans, key=_by_age):
        found.append(await _measure(store, layout, dict_id, paths))
        on_progress(0, checked + len(found), checked + len(orphans))
    return [garbage for garbage in found if garbage.objects]


async def _remove(store: ObjectStore, layout: Layout, garbage: OrphanedData, on_deleted: Callable[[int], None]) -> bool:
    """Delete orphaned data unless its manifest was restored since; return whether it was deleted."""
    if not await _is_orphaned(store, layout, garbage.dict_id):
        return False
    await delete_all(
        store,
        garbage.root,
        ordered=not garbage.fanout,
        only=lambda listed: layout.parse_data_path(listed.path) is not None,
        on_deleted=on_deleted,
    )
    return True


async def _owning_dicts(
    store: ObjectStore, layout: Layout, folder: str
) -> AsyncGenerator[tuple[DictId, DataPaths], None]:
    """Yield each dict with data in the folder, once. After its first objects, the listing continues after its last."""
    page = await store.list_page(folder)
    if page.is_truncated and not _has_order(layout, page):
        async for owner in _walk_to_dicts(store, layout, folder):
            yield owner
        return
    seen_cursors = set[str]()
    while True:
        owners = [layout.parse_data_path(listed.path) for listed in page.objects]
        for found in filter(None, dict.fromkeys(owners)):
            yield found
        if not page.is_truncated:
            return
        last = owners[-1]
        end = page.objects[-1].path if last is None else _prefix_end(last[1].root)
        page = await store.list_page(folder, start_after=check_progress(end, seen_cursors))


def _has_order(layout: Layout, page: Page) -> bool:
    """Return whether the store seems to list in the order of the paths: no request, and in doubt no.

    The record of what it supports would take a request. Only where there is no order are entries in folders.
    """
    owners = (layout.parse_data_path(listed.path) for listed in page.objects)
    return is_ordered(page.objects) and not any(owner is not None and owner[1].fanout for owner in owners)


async def _walk_to_dicts(
    store: ObjectStore, layout: Layout, folder: str
) -> AsyncGenerator[tuple[DictId, DataPaths], None]:
    """Yield each dict with a folder in the folder. There are four levels: named, environment, name, id."""
    folders = [folder]
    for _ in range(_LEVELS_ABOVE_DATA):
        deeper = [path for folder in folders for path in (await read_folder(store, folder)).folders]
        owners = {path: layout.parse_data_root(path) for path in deeper}
        for dict_id, paths in filter(None, owners.values()):
            yield dict_id, replace(paths, fanout=UNORDERED_FANOUT)
        folders = [path for path, owner in owners.items() if owner is None]


def _prefix_end(root: str) -> str:
    """Return the least path after all that begin with `root`: 0 follows the slash."""
    return root.removesuffix("/") + "0"


async def _is_orphaned(store: ObjectStore, layout: Layout, dict_id: DictId) -> bool:
    try:
        loaded = await load(store, layout.manifest_path(dict_id))
    except IntegrityError:
        # A process that repairs the manifest, or reads its newer format, may still need the data.
        return False
    if loaded is None:
        return True
    other = loaded.manifest.dict_id
    # A manifest that was copied from another dict does not describe this one.
    return other.ulid != dict_id.ulid and (other.environment, other.name) == (dict_id.environment, dict_id.name)


async def _measure(store: ObjectStore, layout: Layout, dict_id: DictId, paths: DataPaths) -> OrphanedData:
    objects = size = 0
    async for page in scan(store, paths.root, ordered=not paths.fanout):
        sizes = [line.size for line in page.objects if layout.parse_data_path(line.path) is not None]
        objects += len(sizes)
        size += sum(sizes)
    return OrphanedData(dict_id, paths.root, objects, size, paths.fanout)


def _by_age(owner: tuple[DictId, DataPaths]) -> str:
    return owner[0].ulid
