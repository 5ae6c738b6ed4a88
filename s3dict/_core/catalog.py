"""Manifests: open, create, revalidate, list and delete dicts.

What only creating, listing and deleting need is imported there, since a cold start mostly opens a dict.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from .._format.layout import UNORDERED_FANOUT, DictId, Layout, new_ulid
from .._format.manifest import Manifest, decode_manifest, encode_deleted
from .._nested import aclosing, nested_context
from .._record import Record
from .._retry import RetryState
from .._sentinel import UNSET, Unset
from .._stores.base import NotModified, ObjectMeta, ObjectStore, PutResult
from ..errors import ConflictError, Error, IntegrityError, InvalidError, NotFoundError, UncertainOutcomeError
from .conditional import (
    Applied,
    DeleteOutcome,
    Rejected,
    WriteIds,
    cas_attempts,
    conditional_delete,
    conditional_put,
    get_object,
)

REVALIDATE_AFTER = 60.0
"""For how many seconds a handle assumes that its dict exists before it asks again."""
HEARTBEAT_SECONDS = 300.0
DEFAULT_TTL = timedelta(days=7)
DEFAULT_CODEC = "cloudpickle"
_NAMES_SHOWN = 5
_FIXED = "it never changes. Leave the argument out, or use another name"


class DictOptions(Record):
    """The options that a caller asks for; UNSET or None where any will do."""

    ttl: timedelta | Unset | None = UNSET
    codec: str | None = None

    def verify(self, manifest: Manifest) -> None:
        """Raise InvalidError when the dict was created otherwise.

        A caller who asks for `codec="json"` relies on nothing being unpickled, so a silent difference will not do.
        """
        if self.codec not in (None, manifest.codec):
            raise InvalidError(
                f"Dict {manifest.dict_id.name!r} was created with codec={manifest.codec!r}, not {self.codec!r}: "
                f"{_FIXED}"
            )
        if self.ttl not in (UNSET, manifest.ttl):
            raise InvalidError(
                f"Dict {manifest.dict_id.name!r} was created with ttl={manifest.ttl}, not {self.ttl}: {_FIXED}"
            )


class LoadedManifest(Record):
    """A manifest as it was last read; `checked_at` is when that request was sent, by the runtime's clock."""

    manifest: Manifest
    etag: str
    checked_at: float


async def load(store: ObjectStore, path: str) -> LoadedManifest | None:
    """Return the manifest at `path`; None when there is none, or the dict was deleted. 1 request."""
    started_at = store.runtime.monotonic()
    found = await get_object(store, path)
    manifest = found and decode_manifest(found.body, path)
    return LoadedManifest(manifest, found.etag, started_at) if found and manifest else None


async def open_by_name(
    store: ObjectStore, layout: Layout, environment: str, name: str, options: DictOptions
) -> LoadedManifest:
    """Return the dict of that name. Raises NotFoundError. 1 request."""
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
    """Return the dict of that name; create it if it is missing. 1 request, or 3 when it has to be created.

    Raises:
        ConflictError: The store kept saying that there is one, and that there is none.
    """
    rejections = cas_attempts(store)
    while True:
        loaded = await _load_by_name(store, layout, environment, name)
        loaded = loaded or await create(store, layout, environment, name, options, created_by)
        if loaded is not None:
            options.verify(loaded.manifest)
            return loaded
        # Another process has created it between the two requests; again only if it was deleted between two others.
        if not await rejections.next_attempt():
            raise ConflictError(f"The Dict {name!r} in environment {environment!r} kept appearing and vanishing")


async def open_by_id(store: ObjectStore, layout: Layout, dict_id: DictId, options: DictOptions) -> LoadedManifest:
    """Return the dict with that id, not another that has its name now. Raises NotFoundError. 1 request."""
    loaded = await load(store, layout.manifest_path(dict_id))
    if loaded is None or loaded.manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} does not exist (any more)")
    options.verify(loaded.manifest)
    return loaded


async def revalidate(store: ObjectStore, layout: Layout, loaded: LoadedManifest) -> LoadedManifest:
    """Return the same dict, checked again. Raises NotFoundError when it was deleted. 1 request.

    A manifest never changes, so another one with the same id was not written by s3dict: it could name a codec that
    unpickles.
    """
    dict_id, started_at = loaded.manifest.dict_id, store.runtime.monotonic()
    path = layout.manifest_path(dict_id)
    found = await store.get(path, if_none_match=loaded.etag)
    if isinstance(found, NotModified):
        return LoadedManifest(loaded.manifest, loaded.etag, started_at)
    manifest = found and decode_manifest(found.body, path)
    if not found or not manifest or manifest.dict_id != dict_id:
        raise NotFoundError(f"The Dict {dict_id} has been deleted")
    if manifest != loaded.manifest:
        raise IntegrityError(f"The manifest {path!r} differs from what it was before: it was altered")
    return LoadedManifest(manifest, found.etag, started_at)


async def create(
    store: ObjectStore, layout: Layout, environment: str, name: str, options: DictOptions, created_by: str
) -> LoadedManifest | None:
    """Create the dict; return None when there is one of that name.

    Each attempt after an ambiguous one creates a dict with another id: otherwise an attempt that was applied, and whose
    dict another process has deleted since, would be repeated, and the deleted id would come back while its entries are
    being deleted.

    Raises:
        UncertainOutcomeError: Responses were lost, and it is not known whether the dict was created.

    Requests: 2, and those of the probe for the first dict under a prefix.
    """
    path, dict_ids = layout.manifest(environment, name), set[DictId]()
    retry = RetryState(store.retries.writes, store.runtime)
    while await retry.next_attempt():
        now, started_at = datetime.now(UTC), store.runtime.monotonic()
        dict_id = DictId(new_ulid(now), environment, name)
        manifest = await _new_manifest(store, layout, dict_id, now, options, created_by)
        dict_ids.add(dict_id)
        try:
            outcome = await _create_at(store, path, manifest)
        except UncertainOutcomeError as error:
            retry.record(error)
            loaded = await _load_by_name(store, layout, environment, name)
        else:
            if isinstance(outcome, Applied):
                return LoadedManifest(manifest, outcome.etag, started_at)
            current = outcome.current and decode_manifest(outcome.current.body, path)
            if not outcome.current or not current:
                return None
            loaded = LoadedManifest(current, outcome.current.etag, started_at)
        if loaded is not None:
            return loaded if loaded.manifest.dict_id in dict_ids else None
    raise retry.final_error(conditional=True)


async def _create_at(store: ObjectStore, path: str, manifest: Manifest) -> Applied | Rejected:
    """Write a new manifest where there is none, or where one was deleted."""
    write_ids, if_match = WriteIds(manifest.dict_id.ulid.encode()), None
    rejections = cas_attempts(store)
    while True:
        outcome = await conditional_put(
            store, path, manifest.encode(), write_ids, if_match=if_match, may_be_deleted=True
        )
        if isinstance(outcome, Applied) or not outcome.current or decode_manifest(outcome.current.body, path):
            return outcome
        if not await rejections.next_attempt():
            raise ConflictError(f"The deleted manifest {path!r} kept changing while it was being replaced")
        if_match = manifest.capabilities.if_match(outcome.current.etag)


async def list_manifests(
    store: ObjectStore,
    layout: Layout,
    environment: str,
    concurrency: int,
    on_loaded: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[list[LoadedManifest], list[IntegrityError]]:
    """Return every named dict of the environment, newest first, and an error for each whose manifest is damaged.

    `on_loaded` is called after each request with how many dicts are loaded, and of how many.

    Requests: a listing, and 1 for each dict.
    """
    from .listing import read_folder

    async def load(name: str) -> LoadedManifest | IntegrityError | None:
        try:
            return await _load_by_name(store, layout, environment, name)
        except IntegrityError as error:
            damage = IntegrityError(f"Dict {name!r} in environment {environment!r} cannot be read: {error}")
            damage.dict_name = name
            return damage

    store = store.paced()
    folder = await read_folder(store, layout.manifests(environment))
    names = [name for line in folder.objects if (name := layout.dict_name_from_path(line.path, environment))]
    present, damaged, done = list[LoadedManifest](), list[IntegrityError](), 0
    async with aclosing(store.runtime.map(load, names, concurrency)) as manifests:
        async for loaded in manifests:
            done += 1
            on_loaded(done, len(names))
            if isinstance(loaded, IntegrityError):
                damaged.append(loaded)
            elif loaded is not None:
                present.append(loaded)
    present.sort(key=lambda loaded: loaded.manifest.created_at, reverse=True)
    return present, damaged


def combined(damaged: Sequence[IntegrityError]) -> IntegrityError:
    """Return the error for all dicts that cannot be read; its `failed_keys` are their names."""
    names = sorted({error.dict_name or "" for error in damaged})
    error = damaged[0]
    if len(damaged) > 1:
        shown = ", ".join(map(repr, names[:_NAMES_SHOWN])) + (" …" if len(names) > _NAMES_SHOWN else "")
        error = IntegrityError(f"{len(damaged)} dicts cannot be read: {shown}. {damaged[0]}")
    error.failed_keys = names
    return error


async def delete(
    store: ObjectStore,
    layout: Layout,
    environment: str,
    name: str,
    on_deleted: Callable[[int], None] = lambda _: None,
) -> bool:
    """Delete the dict and its data; return False when there is none. Deleting the manifest is the commit.

    `on_deleted` is called after each request with the number of entries that it has deleted.

    If this process is interrupted after it, the data can no longer be reached. The lifecycle deletes it, or the garbage
    collection where entries do not expire.
    """
    attempts = cas_attempts(store)
    while await attempts.next_attempt():
        loaded = await _load_by_name(store, layout, environment, name)
        if loaded is None:
            return False
        if await store.runtime.shielded(partial(_delete_manifest, store, layout, loaded)):
            await delete_data(store, layout, loaded.manifest, on_deleted)
            return True
        # Another process deleted it, and may have created a new one: look again, and delete the current one.
    raise ConflictError(f"The Dict {name!r} in environment {environment!r} kept changing while it was being deleted")


async def delete_data(
    store: ObjectStore, layout: Layout, manifest: Manifest, on_deleted: Callable[[int], None] = lambda _: None
) -> None:
    from .listing import delete_all

    def is_managed(line: ObjectMeta) -> bool:
        return layout.parse_data_path(line.path) is not None

    paths = layout.data(manifest.dict_id, manifest.ttl, manifest.fanout)
    ordered = manifest.capabilities.ordered_listing
    await delete_all(store, paths.entries, ordered=ordered, only=is_managed, on_deleted=on_deleted)
    await delete_all(store, paths.locks, ordered=ordered, only=is_managed)


@nested_context
async def ephemeral(
    store: ObjectStore, layout: Layout, options: DictOptions, created_by: str
) -> AsyncGenerator[LoadedManifest, None]:
    """Create a dict that exists while the context is open; a heartbeat renews its manifest.

    In a forked child the end of the context does nothing: the dict is its parent's.
    """
    now, pid = datetime.now(UTC), os.getpid()
    manifest = await _new_manifest(store, layout, DictId(new_ulid(now)), now, options, created_by)
    path, started_at = layout.manifest_path(manifest.dict_id), store.runtime.monotonic()
    try:
        etag = await store.runtime.shielded(partial(_create_ephemeral, store, path, manifest))
    except Error:
        raise
    except BaseException:
        await store.runtime.shielded(partial(store.delete, path))
        raise
    try:
        renewal = _ManifestRenewal(store, path, manifest, etag)
        async with store.runtime.heartbeat(HEARTBEAT_SECONDS, renewal.renew_manifest):
            yield LoadedManifest(manifest, etag, started_at)
    finally:
        if os.getpid() == pid:
            await store.runtime.shielded(partial(store.delete, path))
            await delete_data(store, layout, manifest)


async def _create_ephemeral(store: ObjectStore, path: str, manifest: Manifest) -> str:
    """Create the manifest, under a name that nothing else can have; return its ETag."""
    write_ids = WriteIds(manifest.dict_id.ulid.encode())
    outcome = await conditional_put(store, path, manifest.encode(), write_ids, if_match=None)
    if isinstance(outcome, Rejected):
        raise IntegrityError(f"There is an object at {path!r}, a name that was chosen at random a moment ago")
    return outcome.etag


class _ManifestRenewal:
    """The heartbeat of an ephemeral dict, without which the lifecycle deletes its manifest."""

    __slots__ = ("_etag", "_manifest", "_path", "_store")

    def __init__(self, store: ObjectStore, path: str, manifest: Manifest, etag: str) -> None:
        self._store = store
        self._path = path
        self._manifest = manifest
        self._etag = etag

    async def renew_manifest(self) -> bool:
        """Write the manifest again; return False when the dict was deleted.

        Conditionally, so that a renewal in flight cannot bring back a dict that is being deleted.
        """
        if_match = self._manifest.capabilities.if_match(self._etag)
        outcome = await self._store.put(self._path, self._manifest.encode(), if_match=if_match)
        if isinstance(outcome, PutResult):
            self._etag = outcome.etag
            return True
        current = await get_object(self._store, self._path)
        if current is None:
            return False
        self._etag = current.etag
        return True


async def _new_manifest(
    store: ObjectStore, layout: Layout, dict_id: DictId, now: datetime, options: DictOptions, created_by: str
) -> Manifest:
    from .probe import load_or_probe

    capabilities = await load_or_probe(store, layout)
    return Manifest(
        dict_id=dict_id,
        created_at=now,
        created_by=created_by,
        ttl=DEFAULT_TTL if options.ttl is UNSET else options.ttl,
        codec=options.codec or DEFAULT_CODEC,
        capabilities=capabilities,
        fanout=0 if capabilities.ordered_listing else UNORDERED_FANOUT,
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
    """Delete that dict's manifest; return False when it has changed since."""
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
        # Whichever process deleted it, this dict's data has to be deleted.
        remaining = await load(store, path)
        return remaining is None or remaining.manifest.dict_id != manifest.dict_id
    return removal is DeleteOutcome.APPLIED
