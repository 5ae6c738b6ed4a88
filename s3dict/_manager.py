"""Dict.objects: creates, lists and deletes named dicts."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from ._aio import dual_method
from ._client import Client, check_client
from ._config import current_user
from ._core import catalog
from ._core.catalog import DEFAULT_CODEC, DEFAULT_TTL, DictOptions
from ._duration import Duration
from ._format.layout import validate_name
from ._format.values import get_codec
from ._handle import HandleState, naming_dict, to_ttl
from .errors import AlreadyExistsError, InvalidError, NotFoundError

H = TypeVar("H")


class DictManager(Generic[H]):
    """The namespace ``Dict.objects``. Each method blocks, and has an ``.aio``."""

    def __init__(self, new_handle: Callable[[HandleState], H], *, aio: bool = False) -> None:
        self._new_handle = new_handle
        self._aio = aio

    def __repr__(self) -> str:
        return "Dict.objects"

    @property
    def _async_view(self) -> DictManager[H]:
        return DictManager(self._new_handle, aio=True)

    @dual_method
    async def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
        ttl: Duration | None = DEFAULT_TTL,
        codec: str = DEFAULT_CODEC,
    ) -> None:
        """Create a dict. Returns no handle.

        Args:
            name: 1 to 64 of ``A-Z a-z 0-9 - _ .``
            allow_existing: Do nothing when a dict of that name exists, whatever its ttl and codec.
            environment_name: None is the client's.
            client: None is ``Client.from_env()``.
            ttl: Seconds or timedelta for which an entry lives after it was last read or written; None for entries
                that never expire.
            codec: ``"cloudpickle"``, ``"json"`` or ``"bytes"``.

        Raises:
            AlreadyExistsError: The dict exists, and `allow_existing` is False.
            ConflictError: A deleted dict of that name kept changing while it was being replaced.
            InvalidError: The name, environment, ttl or codec is not valid.
            UncertainOutcomeError: Responses were lost, and it is unknown whether the dict was created.
            UnsupportedStoreError: The store does not enforce conditional writes.

        Requests:
            2, and about twenty more for the first dict under the client's prefix.
        """
        validate_name(name)
        get_codec(codec)
        options = DictOptions(to_ttl(ttl), codec)
        client, environment = _resolve(environment_name, client)
        store = client._store(aio=self._aio)
        with naming_dict(name):
            created = await catalog.create(store, client._layout, environment, name, options, current_user())
            if created is None and not allow_existing:
                raise AlreadyExistsError(f"A Dict {name!r} already exists in environment {environment!r}")

    @dual_method
    async def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> builtins.list[H]:
        """Return the named dicts of an environment as hydrated handles, newest first.

        Args:
            max_objects: The maximum number of dicts.
            created_before: Only those created earlier: a datetime or an ISO 8601 string, in local time if it has no
                zone.
            environment_name: Empty is the client's.
            client: None is ``Client.from_env()``.

        Raises:
            IntegrityError: The manifests of some dicts are damaged. All others were read: ``completed`` has their
                handles by name, and ``failed_keys`` the names of the damaged ones.
            InvalidError: `max_objects` is not a number or negative, or `created_before` is not a date.

        Requests:
            A listing, and 1 for each dict.
        """
        if max_objects is not None and (not isinstance(max_objects, int) or max_objects < 0):
            raise InvalidError(f"Invalid max_objects: {max_objects!r}. It is a whole number, 0 or more")
        before = _parse_datetime(created_before)
        client, environment = _resolve(environment_name, client)
        found, damaged = await catalog.list_manifests(
            client._store(aio=self._aio), client._layout, environment, client._settings.concurrency
        )
        matching = [loaded for loaded in found if before is None or loaded.manifest.created_at < before]
        handles = {
            loaded.manifest.dict_id.name: self._new_handle(HandleState.hydrated(client, loaded))
            for loaded in matching[:max_objects]
        }
        if damaged:
            error = catalog.combined(damaged)
            error.completed = handles
            raise error
        return builtins.list(handles.values())

    @dual_method
    async def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Delete a dict with all its entries.

        The dict is deleted with the second request. If the call is interrupted after it, no handle reaches the
        remaining entries, and the lifecycle expiration rules delete them. Handles in other processes notice within a
        minute.

        Raises:
            ConflictError: The dict kept changing while it was being deleted.
            NotFoundError: The dict does not exist, and `allow_missing` is False.

        Requests:
            2, two listings, and one for each thousand entries.
        """
        validate_name(name)
        client, environment = _resolve(environment_name, client)
        with naming_dict(name):
            deleted = await catalog.delete(client._store(aio=self._aio), client._layout, environment, name)
            if not deleted and not allow_missing:
                raise NotFoundError(f"There is no Dict {name!r} in environment {environment!r}")


def _resolve(environment_name: str | None, client: Client | None) -> tuple[Client, str]:
    client = Client.from_env() if client is None else check_client(client)
    return client, validate_name(environment_name or client.environment_name, "environment")


def _parse_datetime(when: datetime | str | None) -> datetime | None:
    if when is None:
        return None
    try:
        moment = datetime.fromisoformat(when) if isinstance(when, str) else when
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, AttributeError) as error:
        raise InvalidError(f"Invalid created_before: {when!r}. It is a datetime or an ISO 8601 string") from error
