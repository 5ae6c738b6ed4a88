"""Data that belongs to no dict any more: what interrupted deletes and dead ephemeral dicts leave behind.

A dict's manifest is written before its first entry and deleted before its last. So where data was seen, and no manifest
was seen after that, the data is not that of a dict which is just being made: its dict is gone, and an id never returns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import chain

from .._core.catalog import find
from .._core.listing import advanced, delete_all, scan
from .._format.layout import DataPaths, DictId, Layout
from .._stores.base import Store
from ..errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Garbage:
    """What is left of one dict. ``size`` is in bytes."""

    dict_id: DictId
    root: str
    objects: int
    size: int


async def find_garbage(store: Store, layout: Layout, environment: str | None, concurrency: int) -> list[Garbage]:
    """Of all dicts under the prefix, or of the named ones of an environment.

    7 requests, up to 1 for each thousand objects or each dict, whichever are fewer, 1 for each dict, and a listing of
    what is garbage.
    """

    async def roots_in(folder: str) -> list[tuple[DictId, DataPaths]]:
        return [owner async for owner in _owners(store, layout, folder)]

    async def orphaned(owner: tuple[DictId, DataPaths]) -> tuple[DictId, DataPaths] | None:
        return owner if await _is_orphaned(store, layout, owner[0]) else None

    folders = layout.data_folders(environment)
    listed = [owners async for owners in store.map(roots_in, folders, concurrency)]
    judged = [owner async for owner in store.map(orphaned, chain.from_iterable(listed), concurrency)]
    orphans = [owner for owner in judged if owner is not None]
    return [await _measured(store, layout, dict_id, paths.root) for dict_id, paths in sorted(orphans, key=_by_age)]


async def remove_garbage(store: Store, layout: Layout, garbage: Garbage) -> bool:
    """Deletes it, unless a manifest that somebody restored owns it by now; whether it did.

    1 request, a listing, and one for each thousand objects.
    """
    if not await _is_orphaned(store, layout, garbage.dict_id):
        return False
    await delete_all(store, garbage.root, only=lambda line: layout.owner(line.path) is not None)
    return True


async def _owners(store: Store, layout: Layout, folder: str) -> AsyncGenerator[tuple[DictId, DataPaths], None]:
    """Each dict with data in the folder, once. After a dict's first objects, the rest of them is skipped."""
    after, more, begun = "", True, set[str]()
    while more:
        page = await store.list_page(folder, after=after)
        owners = [layout.owner(line.path) for line in page.objects]
        for owner in dict.fromkeys(owners):
            if owner is not None:
                yield owner
        more = page.more
        if more:
            last = owners[-1]
            after = advanced(page.objects[-1].path if last is None else _end(last[1].root), begun)


def _end(root: str) -> str:
    """A path greater than all that begin with `root`, and less than all that come after: 0 is what follows the /."""
    return root.removesuffix("/") + "0"


async def _is_orphaned(store: Store, layout: Layout, dict_id: DictId) -> bool:
    try:
        hydrated = await find(store, layout.manifest_of(dict_id))
    except IntegrityError:
        # Whoever mends the manifest, or reads its newer format, may still want the data.
        return False
    if hydrated is None:
        return True
    other = hydrated.manifest.dict_id
    # A manifest that was copied there from another dict says nothing about this one.
    return other.ulid != dict_id.ulid and (other.environment, other.name) == (dict_id.environment, dict_id.name)


async def _measured(store: Store, layout: Layout, dict_id: DictId, root: str) -> Garbage:
    objects = size = 0
    async for page in scan(store, root):
        sizes = [line.size for line in page.objects if layout.owner(line.path) is not None]
        objects += len(sizes)
        size += sum(sizes)
    return Garbage(dict_id, root, objects, size)


def _by_age(owner: tuple[DictId, DataPaths]) -> str:
    return owner[0].ulid
