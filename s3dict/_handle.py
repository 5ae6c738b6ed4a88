"""What a handle knows: the dict that it refers to, the options it was made with, the client, and the manifest.

A Dict and its async view share one state, so that the manifest is loaded once for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

from ._client import Client, check_client
from ._config import current_user
from ._core.catalog import (
    REVALIDATE_AFTER,
    DictOptions,
    LoadedManifest,
    open_by_id,
    open_by_name,
    open_or_create,
    revalidate,
)
from ._duration import Duration, to_timedelta
from ._format.layout import DictId, validate_name, validate_ttl
from ._format.values import get_codec
from ._record import Record
from ._sentinel import UNSET, Unset
from ._stores.base import ObjectStore
from .errors import Error, InvalidError, NotFoundError, dict_label


class NameRef(Record):
    """A dict by its name; an environment of None is the client's."""

    name: str
    environment: str | None
    create_if_missing: bool


class IdRef(Record):
    """A dict by its id; ``dict_id`` is None for a text that is not the id of any dict."""

    text: str
    dict_id: DictId | None

    @property
    def name(self) -> str | None:
        return None if self.dict_id is None else self.dict_id.name

    @classmethod
    def of(cls, dict_id: DictId) -> IdRef:
        return cls(str(dict_id), dict_id)


class HandleState:
    """The state that a Dict and its async view share."""

    __slots__ = ("__weakref__", "_client", "_loaded", "options", "ref")

    def __init__(
        self,
        ref: NameRef | IdRef,
        client: Client | None,
        options: DictOptions,
        loaded: LoadedManifest | None = None,
    ) -> None:
        self.ref = ref
        self.options = options
        self._client = None if client is None else check_client(client)
        # With the client it was loaded by, in one assignment: another thread may rebind the handle during a request,
        # and the manifest of one bucket must not be used with the client of another.
        self._loaded: tuple[Client, LoadedManifest] | None = None
        if client is not None and loaded is not None:
            self.remember(client, loaded)

    @classmethod
    def hydrated(cls, client: Client, loaded: LoadedManifest) -> HandleState:
        """Return the state of a handle whose manifest is known."""
        return cls(IdRef.of(loaded.manifest.dict_id), client, DictOptions(), loaded)

    @property
    def client(self) -> Client:
        """The client in use: the one that was passed, or that of the environment at the first use."""
        client = self._client
        if client is None:
            self._client = client = Client.from_env()
            client._env_handles.add(self)
        return client

    @property
    def chosen_client(self) -> Client | None:
        """The client in use; None before the first use of a handle that takes that of the environment."""
        return self._client

    @property
    def loaded(self) -> LoadedManifest | None:
        """The manifest, as it was last loaded."""
        return None if self._loaded is None else self._loaded[1]

    @property
    def dict_id(self) -> DictId | None:
        """The id of the dict; None for a name that has not been loaded yet."""
        if self.loaded is not None:
            return self.loaded.manifest.dict_id
        return self.ref.dict_id if isinstance(self.ref, IdRef) else None

    @property
    def dict_name(self) -> str:
        """The name of the dict, or the id of one without a name: `Error.dict_name`."""
        return self.ref.name or (self.ref.text if isinstance(self.ref, IdRef) else "")

    @property
    def label(self) -> str:
        """How messages refer to the dict."""
        return dict_label(self.dict_name)

    def bind(self, client: Client) -> None:
        """Use this client from now on. Raises InvalidError for what is not one."""
        if check_client(client) is not self._client:
            self._client, self._loaded = client, None

    def detach(self) -> None:
        """Take the client of the environment at the next use, as a fresh handle does."""
        self._client = self._loaded = None

    def remember(self, client: Client, loaded: LoadedManifest) -> None:
        """Use the manifest that this client has loaded, until it has to be revalidated."""
        self._loaded = client, loaded

    def expire(self) -> None:
        """Load the manifest at the next use."""
        self._loaded = None

    async def manifest(self, client: Client, store: ObjectStore) -> LoadedManifest:
        """Return the manifest, which is loaded once and revalidated after a minute. No request in between.

        Raises:
            NotFoundError: The dict does not exist.
        """
        loaded = self._loaded_by(client)
        if loaded is not None and _is_fresh(loaded, store):
            return loaded
        # Many calls may arrive at once at a fresh handle: one of them makes the request, and the others wait for it.
        async with store.runtime.lock_for(self):
            loaded = self._loaded_by(client)
            if loaded is not None and _is_fresh(loaded, store):
                return loaded
            with self.naming_dict():
                return await self._refresh(client, store, loaded)

    async def check_exists(self, client: Client, store: ObjectStore, dict_id: DictId) -> None:
        """Check for a call that takes long that its dict still exists. A request once a minute.

        Raises:
            NotFoundError: It was deleted.
        """
        if self._client is not client:
            # It has another client now, and what it knows of that one does not concern this call.
            return
        loaded = self._loaded_by(client)
        if loaded is None or loaded.manifest.dict_id != dict_id:
            # Another call has found it deleted: looking its name up could find or create another dict.
            with self.naming_dict():
                raise NotFoundError(f"The Dict {dict_id} has been deleted")
        await self.manifest(client, store)

    def naming_dict(self) -> AbstractContextManager[None]:
        """Set the dict's name in every s3dict error that does not have one."""
        return naming_dict(self.dict_name)

    def _loaded_by(self, client: Client) -> LoadedManifest | None:
        loaded = self._loaded
        return loaded[1] if loaded is not None and loaded[0] is client else None

    async def _refresh(self, client: Client, store: ObjectStore, loaded: LoadedManifest | None) -> LoadedManifest:
        try:
            current = await (self._load(client, store) if loaded is None else revalidate(store, client._layout, loaded))
        except NotFoundError:
            # This call must not write into a deleted dict. The next starts from the name, which may be another dict's.
            self._loaded = None
            raise
        if self._client is client:
            self.remember(client, current)
        return current

    async def _load(self, client: Client, store: ObjectStore) -> LoadedManifest:
        ref, layout, options = self.ref, client._layout, self.options
        if isinstance(ref, IdRef):
            if ref.dict_id is None:
                raise NotFoundError(f"The Dict {ref.text!r} does not exist: an id is what `Dict.object_id` returns")
            return await open_by_id(store, layout, ref.dict_id, options)
        environment = ref.environment or client.environment_name
        if ref.create_if_missing:
            return await open_or_create(store, layout, environment, ref.name, options, current_user())
        return await open_by_name(store, layout, environment, ref.name, options)


@contextmanager
def naming_dict(name: str) -> Iterator[None]:
    """Set the name of the dict in every s3dict error that does not have one."""
    try:
        yield
    except Error as error:
        if error.dict_name is None:
            error.dict_name = name
        raise


def _is_fresh(loaded: LoadedManifest, store: ObjectStore) -> bool:
    return store.runtime.monotonic() - loaded.checked_at < REVALIDATE_AFTER


def validate_options(ttl: Duration | Unset | None, codec: str | None) -> DictOptions:
    """Return the options. Raises InvalidError for a ttl or codec that no dict has."""
    if codec is not None:
        get_codec(codec)
    return DictOptions(UNSET if ttl is UNSET else to_ttl(ttl), codec)


def to_ttl(ttl: Duration | None) -> timedelta | None:
    """Return the ttl of a dict. Raises InvalidError for one that no dict has."""
    return validate_ttl(None if ttl is None else to_timedelta(ttl, "ttl"))


def validate_ref(name: str, environment_name: str | None, create_if_missing: bool) -> NameRef:
    """Return the reference. Raises InvalidError for a name or environment that no dict has."""
    validate_name(name)
    if environment_name is not None:
        validate_name(environment_name, "environment")
    return NameRef(name, environment_name or None, create_if_missing)


def detach_env_handles(client: Client) -> None:
    """Make all handles that took this client from the environment take it from there again at their next use."""
    for state in list(client._env_handles):
        state.detach()
    client._env_handles.clear()


def pickled_state(state: HandleState) -> tuple[Any, ...]:
    """Return the state as built-in types and a Client, for `unpickled_state`.

    By its id once that is known: elsewhere it must be the same dict, not one that has its name by then.
    """
    options: dict[str, Any] = {"codec": state.options.codec} if state.options.codec is not None else {}
    if state.options.ttl is not UNSET:
        options["ttl"] = state.options.ttl
    ref = state.ref
    if isinstance(ref, NameRef) and state.dict_id is None:
        return ("name", ref.name, ref.environment, ref.create_if_missing), state.chosen_client, options
    text = ref.text if isinstance(ref, IdRef) else str(state.dict_id)
    return ("id", text), state.chosen_client, options


def unpickled_state(ref: tuple[Any, ...], client: Client | None, options: dict[str, Any]) -> HandleState:
    """Return the state that `pickled_state` has turned into built-in types."""
    kind, *fields = ref
    found = NameRef(*fields) if kind == "name" else parse_id(*fields)
    return HandleState(found, client, DictOptions(options.get("ttl", UNSET), options.get("codec")))


def parse_id(text: str) -> IdRef:
    """Return the reference; a text that no dict has as its id is reported at the first use."""
    if not isinstance(text, str):
        raise InvalidError(f"Invalid Dict id: {text!r}. It is a string, which `Dict.object_id` returns")
    try:
        return IdRef(text, DictId.parse(text))
    except InvalidError:
        return IdRef(text, None)
