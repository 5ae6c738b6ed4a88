"""Data that belongs to no dict any more: what interrupted deletes and dead ephemeral dicts leave behind.

A dict's manifest is written before its first entry and deleted before its last. So where data was seen, and no manifest
was seen after that, the data is not that of a dict which is just being made: its dict is gone, and an id never returns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from itertools import chain

from .._client import Client
from .._core.catalog import load
from .._core.listing import check_progress, delete_all, scan
from .._format.layout import DataPaths, DictId, Layout, validate_name
from .._stores.base import ObjectStore
from .._stores.shared.threads import run_blocking
from ..errors import IntegrityError

__all__ = ["OrphanedData", "find_garbage", "remove_garbage"]


@dataclass(frozen=True, slots=True)
class OrphanedData:
    """What is left of one dict. ``size`` is in bytes."""

    dict_id: DictId
    root: str
    objects: int
    size: int


def find_garbage(client: Client, environment_name: str | None = None) -> list[OrphanedData]:
    """What interrupted deletes and dead ephemeral dicts left under the client's prefix, oldest dict first.

    The lifecycle rules delete most of it in time, but not the data of dicts with ``ttl=None``.
    Expired entries, and locks, are not garbage while their dict exists. An ephemeral dict whose process died is garbage
    as soon as the lifecycle has swept its manifest, two days after its last heartbeat.

    7 requests, up to 1 for each thousand objects or each dict, whichever are fewer, 1 for each dict, and a listing of
    what is garbage.

    Args:
        client: Names the bucket and the prefix.
        environment_name: Only what is left of this environment's dicts; None is all there are, ephemeral ones too.

    Raises:
        InvalidError: no valid environment.
    """
    if environment_name is not None:
        validate_name(environment_name, "environment")
    store, concurrency = client._store(aio=False), client._settings.concurrency
    return run_blocking(_find(store, client._layout, environment_name, concurrency))


def remove_garbage(client: Client, garbage: OrphanedData, on_deleted: Callable[[int], None] = lambda _: None) -> bool:
    """Delete it, after checking again that it is still garbage; whether it was deleted.

    1 request, a listing, and 1 for each thousand objects.
    """
    return run_blocking(_remove(client._store(aio=False), client._layout, garbage, on_deleted))


async def _find(store: ObjectStore, layout: Layout, environment: str | None, concurrency: int) -> list[OrphanedData]:
    """Of all dicts under the prefix, or of the named ones of an environment.

    7 requests, up to 1 for each thousand objects or each dict, whichever are fewer, 1 for each dict, and a listing of
    what is garbage.
    """

    async def roots_in(folder: str) -> list[tuple[DictId, DataPaths]]:
        return [owner async for owner in _owning_dicts(store, layout, folder)]

    async def orphaned(owner: tuple[DictId, DataPaths]) -> tuple[DictId, DataPaths] | None:
        return owner if await _is_orphaned(store, layout, owner[0]) else None

    folders = layout.data_folders(environment)
    listed = [owners async for owners in store.runtime.map(roots_in, folders, concurrency)]
    checked = [owner async for owner in store.runtime.map(orphaned, chain.from_iterable(listed), concurrency)]
    orphans = [owner for owner in checked if owner is not None]
    return [await _measure(store, layout, dict_id, paths.root) for dict_id, paths in sorted(orphans, key=_by_age)]


async def _remove(store: ObjectStore, layout: Layout, garbage: OrphanedData, on_deleted: Callable[[int], None]) -> bool:
    """Delete it, unless a manifest that was restored since owns it; whether it was deleted.

    1 request, a listing, and one for each thousand objects.
    """
    if not await _is_orphaned(store, layout, garbage.dict_id):
        return False
    await delete_all(
        store,
        garbage.root,
        only=lambda line: layout.parse_data_path(line.path) is not None,
        on_deleted=on_deleted,
    )
    return True


async def _owning_dicts(
    store: ObjectStore, layout: Layout, folder: str
) -> AsyncGenerator[tuple[DictId, DataPaths], None]:
    """Each dict with data in the folder, once. After a dict's first objects, the rest of them is skipped."""
    start_after, is_truncated, seen_cursors = "", True, set[str]()
    while is_truncated:
        page = await store.list_page(folder, start_after=start_after)
        owners = [layout.parse_data_path(line.path) for line in page.objects]
        for owner in dict.fromkeys(owners):
            if owner is not None:
                yield owner
        is_truncated = page.is_truncated
        if is_truncated:
            last = owners[-1]
            end = page.objects[-1].path if last is None else _prefix_end(last[1].root)
            start_after = check_progress(end, seen_cursors)


def _prefix_end(root: str) -> str:
    """A path greater than all that begin with `root`, and less than all that come after: 0 is what follows the /."""
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


async def _measure(store: ObjectStore, layout: Layout, dict_id: DictId, root: str) -> OrphanedData:
    objects = size = 0
    async for page in scan(store, root):
        sizes = [line.size for line in page.objects if layout.parse_data_path(line.path) is not None]
        objects += len(sizes)
        size += sum(sizes)
    return OrphanedData(dict_id, root, objects, size)


def _by_age(owner: tuple[DictId, DataPaths]) -> str:
    return owner[0].ulid
