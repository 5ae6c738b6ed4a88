"""From a name or an id to a manifest: finding dicts, creating, watching and deleting them.

What only creating, listing and deleting need is imported there, since a cold start mostly finds a dict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import chain

from .._format.layout import DictId, Layout, new_ulid
from .._format.manifest import Manifest, decode_manifest, encode_deleted
from .._stores.base import Listed, NotModified, Refused, Store
from ..errors import IntegrityError, InvalidError, NotFoundError
from .conditional import Lost, Marks, Removal, delete_if, put_if, read

TRUSTED_SECONDS = 60.0
"""How long a hydrated handle believes its manifest before it asks whether the dict still exists."""
HEARTBEAT_SECONDS = 300.0
DEFAULT_TTL = timedelta(days=7)
DEFAULT_CODEC = "cloudpickle"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a caller wants a dict to be; None where it does not care."""

    ttl: tuple[timedelta | None] | None = None
    codec: str | None = None

    def check(self, manifest: Manifest) -> None:
        """Raises InvalidError when the dict was created otherwise.

        A caller who asks for `codec="json"` relies on nothing being unpickled, so a silent difference will not do.
        """
        if self.codec not in (None, manifest.codec):
            raise InvalidError(
                f"Dict {manifest.dict_id.name!r} was created with codec={manifest.codec!r}, not {self.codec!r}"
            )
        if self.ttl not in (None, (manifest.ttl,)):
            asked = self.ttl and self.ttl[0]
            raise InvalidError(f"Dict {manifest.dict_id.name!r} was created with ttl={manifest.ttl}, not {asked}")


@dataclass(frozen=True, slots=True)
class Hydrated:
    """A manifest as it was last seen."""

    manifest: Manifest
    etag: str
    seen_at: float


async def find(store: Store, path: str) -> Hydrated | None:
    """The manifest at `path`; None when there is none, or the dict was deleted. 1 request."""
    began = store.now()
    found = await read(store, path)
    manifest = found and decode_manifest(found.body, path)
    return Hydrated(manifest, found.etag, began) if found and manifest else None


async def open_named(store: Store, layout: Layout, environment: str, name: str, choice: Choice) -> Hydrated:
    """The dict of that name. Raises NotFoundError. 1 request."""
    hydrated = await _find_named(store, layout, environment, name)
    if hydrated is None:
        raise NotFoundError(
            f"There is no Dict {name!r} in environment {environment!r}: create it with `s3dict create` or "
            f"Dict.from_name({name!r}, create_if_missing=True), or look at `s3dict list` or Dict.objects.list()"
        )
    choice.check(hydrated.manifest)
    return hydrated


async def open_or_create(
    store: Store, layout: Layout, environment: str, name: str, choice: Choice, created_by: str
) -> Hydrated:
    """The dict of that name, made if it is missing. 1 request, or 3 when it has to be made."""
    hydrated = None
    while hydrated is None:
        # Once around unless others create and delete it between our two looks.
        hydrated = await _find_named(store, layout, environment, name)
        hydrated = hydrated or await create(store, layout, environment, name, choice, created_by)
    choice.check(hydrated.manifest)
    return hydrated


async def open_id(store: Store, layout: Layout, dict_id: DictId, choice: Choice) -> Hydrated:
    """The dict with that id, and no other that has its name now. Raises NotFoundError. 1 request."""
    hydrated = await find(store, layout.manifest_of(dict_id))
    if hydrated is None or hydrated.manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} does not exist (any more)")
    choice.check(hydrated.manifest)
    return hydrated


async def revalidate(store: Store, layout: Layout, hydrated: Hydrated) -> Hydrated:
    """The same dict, seen again. Raises NotFoundError when it is gone. 1 request.

    A manifest never changes, so another one of the same id is none of ours: it could name a codec that unpickles.
    """
    dict_id, began = hydrated.manifest.dict_id, store.now()
    path = layout.manifest_of(dict_id)
    found = await store.get(path, if_none_match=hydrated.etag)
    if isinstance(found, NotModified):
        return Hydrated(hydrated.manifest, hydrated.etag, began)
    manifest = found and decode_manifest(found.body, path)
    if not found or not manifest or manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} has been deleted")
    if manifest != hydrated.manifest:
        raise IntegrityError(f"The manifest {path!r} says something else than before: it was altered")
    return Hydrated(manifest, found.etag, began)


async def create(
    store: Store, layout: Layout, environment: str, name: str, choice: Choice, created_by: str
) -> Hydrated | None:
    """Makes the dict; None when there is one of that name. 2 requests, and the probe for the first under a prefix."""
    now = datetime.now(timezone.utc)
    manifest = await _new_manifest(store, layout, DictId(new_ulid(now), environment, name), now, choice, created_by)
    path = layout.manifest(environment, name)
    began, marks, over = store.now(), Marks(manifest.dict_id.ulid.encode()), None
    while True:
        # Sent again also when it was not answered: should another have deleted the dict by then, it comes back empty.
        outcome = await put_if(store, path, manifest.encode(), marks, over=over)
        if not isinstance(outcome, Lost):
            return Hydrated(manifest, outcome.etag, began)
        if outcome.found is None or decode_manifest(outcome.found.body, path) is not None:
            return None
        over = manifest.capabilities.if_match(outcome.found.etag)


async def list_manifests(store: Store, layout: Layout, environment: str, concurrency: int) -> list[Hydrated]:
    """Every named dict of the environment, newest first. A listing and 1 request each."""
    from .listing import scan

    async def load(name: str) -> Hydrated | None:
        return await _find_named(store, layout, environment, name)

    pages = [page.objects async for page in scan(store, layout.manifests(environment))]
    named = [layout.named_in(line.path, environment) for line in chain.from_iterable(pages)]
    loaded = [hydrated async for hydrated in store.map(load, filter(None, named), concurrency)]
    present = [hydrated for hydrated in loaded if hydrated is not None]
    return sorted(present, key=lambda hydrated: hydrated.manifest.created_at, reverse=True)


async def delete(store: Store, layout: Layout, environment: str, name: str) -> bool:
    """Deletes the dict and its data; False when there is none. Deleting the manifest is the commit.

    If this process dies after it, the data is out of everybody's reach, and the lifecycle sweeps it.
    """
    hydrated = await _find_named(store, layout, environment, name)
    while hydrated is not None and not await _delete_manifest(store, layout, hydrated):
        # Somebody deleted it, or deleted it and made another: look again, and delete what is there now.
        hydrated = await _find_named(store, layout, environment, name)
    if hydrated is None:
        return False
    await delete_data(store, layout, hydrated.manifest)
    return True


async def delete_data(store: Store, layout: Layout, manifest: Manifest) -> None:
    from .listing import delete_all

    def is_ours(line: Listed) -> bool:
        return layout.owner(line.path) is not None

    paths = layout.data(manifest.dict_id, manifest.ttl)
    await delete_all(store, paths.entries, only=is_ours)
    await delete_all(store, paths.locks, only=is_ours)


@asynccontextmanager
async def ephemeral(store: Store, layout: Layout, choice: Choice, created_by: str) -> AsyncIterator[Hydrated]:
    """A dict that lives as long as the context. Its manifest is written anew now and then, lest it be swept."""
    now = datetime.now(timezone.utc)
    manifest = await _new_manifest(store, layout, DictId(new_ulid(now)), now, choice, created_by)
    path, began, body = layout.manifest_of(manifest.dict_id), store.now(), manifest.encode()
    outcome = await put_if(store, path, body, Marks(manifest.dict_id.ulid.encode()), over=None)
    if isinstance(outcome, Lost):
        raise IntegrityError(f"There is something at {path!r}, which was named at random a moment ago")
    etag = outcome.etag

    async def beat() -> bool:
        # On a condition, so that a beat under way cannot bring back a dict that is being deleted.
        nonlocal etag
        answer = await store.put(path, body, if_match=manifest.capabilities.if_match(etag))
        if isinstance(answer, Refused):
            current = await read(store, path)
            if current is None:
                return False
            etag = current.etag
        else:
            etag = answer.etag
        return True

    try:
        async with store.every(HEARTBEAT_SECONDS, beat):
            yield Hydrated(manifest, etag, began)
    finally:
        await store.delete(path)
        await delete_data(store, layout, manifest)


async def _new_manifest(
    store: Store, layout: Layout, dict_id: DictId, now: datetime, choice: Choice, created_by: str
) -> Manifest:
    from .probe import capabilities

    return Manifest(
        dict_id=dict_id,
        created_at=now,
        created_by=created_by,
        ttl=DEFAULT_TTL if choice.ttl is None else choice.ttl[0],
        codec=choice.codec or DEFAULT_CODEC,
        capabilities=await capabilities(store, layout),
    )


async def _find_named(store: Store, layout: Layout, environment: str, name: str) -> Hydrated | None:
    path = layout.manifest(environment, name)
    hydrated = await find(store, path)
    if hydrated is not None and (hydrated.manifest.dict_id.environment, hydrated.manifest.dict_id.name) != (
        environment,
        name,
    ):
        raise IntegrityError(f"The manifest {path!r} is that of {hydrated.manifest.dict_id}: it was copied there")
    return hydrated


async def _delete_manifest(store: Store, layout: Layout, hydrated: Hydrated) -> bool:
    """Whether that very dict is deleted now; False when its manifest has changed since."""
    manifest = hydrated.manifest
    path, over = layout.manifest_of(manifest.dict_id), manifest.capabilities.if_match(hydrated.etag)
    if not manifest.capabilities.conditional_delete:
        write_id = new_ulid(datetime.now(timezone.utc))
        outcome = await put_if(store, path, encode_deleted(write_id), Marks(write_id.encode()), over=over)
        return not isinstance(outcome, Lost)
    removal = await delete_if(store, path, over)
    if removal is Removal.UNKNOWN:
        # Whoever deleted it, it is this dict's data that has to go.
        remaining = await find(store, path)
        return remaining is None or remaining.manifest.dict_id != manifest.dict_id
    return removal is Removal.DELETED
