"""From a name or an id to a manifest: finding dicts, creating, watching and deleting them.

What only creating, listing and deleting need is imported there, since a cold start mostly finds a dict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from .._format.layout import DictId, Layout, new_ulid
from .._format.manifest import Manifest, decode_manifest, encode_deleted
from .._sentinel import UNSET, Unset
from .._stores.base import Conflict, NotModified, ObjectMeta, ObjectStore, PreconditionFailed
from ..errors import IntegrityError, InvalidError, NotFoundError
from .conditional import DeleteOutcome, Rejected, WriteIds, conditional_delete, conditional_put, get_object

REVALIDATE_AFTER = 60.0
"""How long a hydrated handle believes its manifest before it asks whether the dict still exists."""
HEARTBEAT_SECONDS = 300.0
DEFAULT_TTL = timedelta(days=7)
DEFAULT_CODEC = "cloudpickle"


@dataclass(frozen=True, slots=True)
class DictOptions:
    """The options that a caller asks for; UNSET or None where any will do."""

    ttl: timedelta | Unset | None = UNSET
    codec: str | None = None

    def verify(self, manifest: Manifest) -> None:
        """Raises InvalidError when the dict was created otherwise.

        A caller who asks for `codec="json"` relies on nothing being unpickled, so a silent difference will not do.
        """
        if self.codec not in (None, manifest.codec):
            raise InvalidError(
                f"Dict {manifest.dict_id.name!r} was created with codec={manifest.codec!r}, not {self.codec!r}"
            )
        if self.ttl not in (UNSET, manifest.ttl):
            raise InvalidError(f"Dict {manifest.dict_id.name!r} was created with ttl={manifest.ttl}, not {self.ttl}")


@dataclass(frozen=True, slots=True)
class LoadedManifest:
    """A manifest as it was last seen."""

    manifest: Manifest
    etag: str
    checked_at: float


async def load(store: ObjectStore, path: str) -> LoadedManifest | None:
    """The manifest at `path`; None when there is none, or the dict was deleted. 1 request."""
    began = store.runtime.monotonic()
    found = await get_object(store, path)
    manifest = found and decode_manifest(found.body, path)
    return LoadedManifest(manifest, found.etag, began) if found and manifest else None


async def open_by_name(
    store: ObjectStore, layout: Layout, environment: str, name: str, options: DictOptions
) -> LoadedManifest:
    """The dict of that name. Raises NotFoundError. 1 request."""
    loaded = await _load_by_name(store, layout, environment, name)
    if loaded is None:
        raise NotFoundError(
            f"There is no Dict {name!r} in environment {environment!r}: create it with `s3dict create` or "
            f"Dict.from_name({name!r}, create_if_missing=True), or look at `s3dict list` or Dict.objects.list()"
        )
    options.verify(loaded.manifest)
    return loaded


async def open_or_create(
    store: ObjectStore, layout: Layout, environment: str, name: str, options: DictOptions, created_by: str
) -> LoadedManifest:
    """The dict of that name, made if it is missing. 1 request, or 3 when it has to be made."""
    loaded = None
    while loaded is None:
        # Once around unless others create and delete it between our two looks.
        loaded = await _load_by_name(store, layout, environment, name)
        loaded = loaded or await create(store, layout, environment, name, options, created_by)
    options.verify(loaded.manifest)
    return loaded


async def open_by_id(store: ObjectStore, layout: Layout, dict_id: DictId, options: DictOptions) -> LoadedManifest:
    """The dict with that id, and no other that has its name now. Raises NotFoundError. 1 request."""
    loaded = await load(store, layout.manifest_path(dict_id))
    if loaded is None or loaded.manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} does not exist (any more)")
    options.verify(loaded.manifest)
    return loaded


async def revalidate(store: ObjectStore, layout: Layout, loaded: LoadedManifest) -> LoadedManifest:
    """The same dict, seen again. Raises NotFoundError when it is gone. 1 request.

    A manifest never changes, so another one of the same id is none of ours: it could name a codec that unpickles.
    """
    dict_id, began = loaded.manifest.dict_id, store.runtime.monotonic()
    path = layout.manifest_path(dict_id)
    found = await store.get(path, if_none_match=loaded.etag)
    if isinstance(found, NotModified):
        return LoadedManifest(loaded.manifest, loaded.etag, began)
    manifest = found and decode_manifest(found.body, path)
    if not found or not manifest or manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} has been deleted")
    if manifest != loaded.manifest:
        raise IntegrityError(f"The manifest {path!r} says something else than before: it was altered")
    return LoadedManifest(manifest, found.etag, began)


async def create(
    store: ObjectStore, layout: Layout, environment: str, name: str, options: DictOptions, created_by: str
) -> LoadedManifest | None:
    """Makes the dict; None when there is one of that name. 2 requests, and the probe for the first under a prefix."""
    now = datetime.now(UTC)
    manifest = await _new_manifest(store, layout, DictId(new_ulid(now), environment, name), now, options, created_by)
    path = layout.manifest(environment, name)
    began, write_ids, if_match = store.runtime.monotonic(), WriteIds(manifest.dict_id.ulid.encode()), None
    while True:
        # Sent again also when it was not answered: should another have deleted the dict by then, it comes back empty.
        outcome = await conditional_put(store, path, manifest.encode(), write_ids, if_match=if_match)
        if not isinstance(outcome, Rejected):
            return LoadedManifest(manifest, outcome.etag, began)
        if outcome.current is None or decode_manifest(outcome.current.body, path) is not None:
            return None
        if_match = manifest.capabilities.if_match(outcome.current.etag)


async def list_manifests(
    store: ObjectStore, layout: Layout, environment: str, concurrency: int
) -> list[LoadedManifest]:
    """Every named dict of the environment, newest first. A listing and 1 request each."""
    from .listing import scan

    async def load(name: str) -> LoadedManifest | None:
        return await _load_by_name(store, layout, environment, name)

    pages = [page.objects async for page in scan(store, layout.manifests(environment))]
    named = [layout.dict_name_from_path(line.path, environment) for line in chain.from_iterable(pages)]
    loaded = [loaded async for loaded in store.runtime.map(load, filter(None, named), concurrency)]
    present = [loaded for loaded in loaded if loaded is not None]
    return sorted(present, key=lambda loaded: loaded.manifest.created_at, reverse=True)


async def delete(
    store: ObjectStore,
    layout: Layout,
    environment: str,
    name: str,
    on_deleted: Callable[[int], None] = lambda _: None,
) -> bool:
    """Delete the dict and its data; False when there is none. Deleting the manifest is the commit.

    `on_deleted` is called after each request with the number of entries that it has deleted.

    If this process dies after it, the data is out of everybody's reach, and the lifecycle sweeps it.
    """
    loaded = await _load_by_name(store, layout, environment, name)
    while loaded is not None and not await _delete_manifest(store, layout, loaded):
        # Somebody deleted it, or deleted it and made another: look again, and delete what is there now.
        loaded = await _load_by_name(store, layout, environment, name)
    if loaded is None:
        return False
    await delete_data(store, layout, loaded.manifest, on_deleted)
    return True


async def delete_data(
    store: ObjectStore, layout: Layout, manifest: Manifest, on_deleted: Callable[[int], None] = lambda _: None
) -> None:
    from .listing import delete_all

    def is_managed(line: ObjectMeta) -> bool:
        return layout.parse_data_path(line.path) is not None

    paths = layout.data(manifest.dict_id, manifest.ttl)
    await delete_all(store, paths.entries, only=is_managed, on_deleted=on_deleted)
    await delete_all(store, paths.locks, only=is_managed)


@asynccontextmanager
async def ephemeral(
    store: ObjectStore, layout: Layout, options: DictOptions, created_by: str
) -> AsyncIterator[LoadedManifest]:
    """A dict that lives as long as the context. Its manifest is written anew now and then, lest it be swept."""
    now = datetime.now(UTC)
    manifest = await _new_manifest(store, layout, DictId(new_ulid(now)), now, options, created_by)
    path, began, body = layout.manifest_path(manifest.dict_id), store.runtime.monotonic(), manifest.encode()
    outcome = await conditional_put(store, path, body, WriteIds(manifest.dict_id.ulid.encode()), if_match=None)
    if isinstance(outcome, Rejected):
        raise IntegrityError(f"There is something at {path!r}, which was named at random a moment ago")
    etag = outcome.etag

    async def heartbeat() -> bool:
        # On a condition, so that a beat under way cannot bring back a dict that is being deleted.
        nonlocal etag
        answer = await store.put(path, body, if_match=manifest.capabilities.if_match(etag))
        if isinstance(answer, (PreconditionFailed, Conflict)):
            current = await get_object(store, path)
            if current is None:
                return False
            etag = current.etag
        else:
            etag = answer.etag
        return True

    try:
        async with store.runtime.heartbeat(HEARTBEAT_SECONDS, heartbeat):
            yield LoadedManifest(manifest, etag, began)
    finally:
        await store.delete(path)
        await delete_data(store, layout, manifest)


async def _new_manifest(
    store: ObjectStore, layout: Layout, dict_id: DictId, now: datetime, options: DictOptions, created_by: str
) -> Manifest:
    from .probe import load_or_probe

    return Manifest(
        dict_id=dict_id,
        created_at=now,
        created_by=created_by,
        ttl=DEFAULT_TTL if options.ttl is UNSET else options.ttl,
        codec=options.codec or DEFAULT_CODEC,
        capabilities=await load_or_probe(store, layout),
    )


async def _load_by_name(store: ObjectStore, layout: Layout, environment: str, name: str) -> LoadedManifest | None:
    path = layout.manifest(environment, name)
    loaded = await load(store, path)
    if loaded is not None and (loaded.manifest.dict_id.environment, loaded.manifest.dict_id.name) != (
        environment,
        name,
    ):
        raise IntegrityError(f"The manifest {path!r} is that of {loaded.manifest.dict_id}: it was copied there")
    return loaded


async def _delete_manifest(store: ObjectStore, layout: Layout, loaded: LoadedManifest) -> bool:
    """Whether that very dict is deleted now; False when its manifest has changed since."""
    manifest = loaded.manifest
    path, if_match = layout.manifest_path(manifest.dict_id), manifest.capabilities.if_match(loaded.etag)
    if not manifest.capabilities.conditional_delete:
        write_id = new_ulid(datetime.now(UTC))
        outcome = await conditional_put(
            store, path, encode_deleted(write_id), WriteIds(write_id.encode()), if_match=if_match
        )
        return not isinstance(outcome, Rejected)
    removal = await conditional_delete(store, path, if_match)
    if removal is DeleteOutcome.UNKNOWN:
        # Whoever deleted it, it is this dict's data that has to go.
        remaining = await load(store, path)
        return remaining is None or remaining.manifest.dict_id != manifest.dict_id
    return removal is DeleteOutcome.APPLIED
