"""Dict.objects: creates, lists and deletes named dicts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ._aio import method
from ._client import Client
from ._config import current_user
from ._core import catalog
from ._core.catalog import DEFAULT_CODEC, DEFAULT_TTL, DictOptions, LoadedManifest
from ._format.layout import validate_name, validate_ttl
from ._format.values import get_codec
from .errors import AlreadyExistsError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from ._dict import Dict


class DictManager:
    """The namespace ``Dict.objects``. Each method blocks, and has an ``.aio``."""

    def __init__(self, make: Callable[[Client, LoadedManifest], Any], *, aio: bool = False) -> None:
        self._make = make
        self._aio = aio

    @property
    def _async_view(self) -> DictManager:
        return DictManager(self._make, aio=True)

    @method
    async def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
        ttl: timedelta | None = DEFAULT_TTL,
        codec: str = DEFAULT_CODEC,
    ) -> None:
        """Creates a dict. 2 requests, and a dozen more for the first under the client's prefix. Gives no handle.

        Args:
            name: 1 to 64 of ``A-Z a-z 0-9 - _ .``
            allow_existing: Do nothing, whatever its ttl and codec, when there is a dict of that name.
            environment_name: None is the client's.
            client: None is ``Client.from_env()``.
            ttl: How long an entry lives after it was last read or written; None for ever.
            codec: ``"cloudpickle"``, ``"json"`` or ``"bytes"``.

        Raises:
            AlreadyExistsError: there is one, and `allow_existing` is False.
            InvalidError: no valid name, environment, ttl or codec.
            UnsupportedStoreError: the store does not honour conditional writes.
        """
        validate_name(name)
        get_codec(codec)
        options = DictOptions((validate_ttl(ttl),), codec)
        client, environment = self._where(environment_name, client)
        store = client._store(aio=self._aio)
        made = await catalog.create(store, client._layout, environment, name, options, current_user())
        if made is None and not allow_existing:
            raise AlreadyExistsError(f"A Dict {name!r} already exists in environment {environment!r}")

    @method
    async def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> list[Dict[Any, Any]]:
        """The named dicts of an environment as hydrated handles, newest first. A listing, and 1 request for each dict.

        Args:
            max_objects: How many at most.
            created_before: Only those created earlier: a datetime or an ISO 8601 string, in local time if it has no
                zone.
            environment_name: Empty is the client's.
            client: None is ``Client.from_env()``.

        Raises:
            InvalidError: `max_objects` is negative, or `created_before` is no date.
        """
        if max_objects is not None and max_objects < 0:
            raise InvalidError("max_objects cannot be negative")
        before = _moment(created_before)
        client, environment = self._where(environment_name, client)
        found = await catalog.list_manifests(
            client._store(aio=self._aio), client._layout, environment, client._settings.concurrency
        )
        older = [loaded for loaded in found if before is None or loaded.manifest.created_at < before]
        return [self._make(client, loaded) for loaded in older[:max_objects]]

    @method
    async def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Deletes a dict with all its entries. 2 requests, two listings, and one for each thousand entries.

        The dict is gone with the second request; what an interruption leaves of its entries is out of everybody's
        reach and is swept. Handles in other processes notice within a minute.

        Raises:
            NotFoundError: there is none, and `allow_missing` is False.
        """
        validate_name(name)
        client, environment = self._where(environment_name, client)
        deleted = await catalog.delete(client._store(aio=self._aio), client._layout, environment, name)
        if not deleted and not allow_missing:
            raise NotFoundError(f"There is no Dict {name!r} in environment {environment!r}")

    def _where(self, environment_name: str | None, client: Client | None) -> tuple[Client, str]:
        client = client or Client.from_env()
        return client, validate_name(environment_name or client.environment_name, "environment")


def _moment(when: datetime | str | None) -> datetime | None:
    if when is None:
        return None
    try:
        # Python 3.10 does not know the Z of ISO 8601.
        moment = datetime.fromisoformat(when.replace("Z", "+00:00")) if isinstance(when, str) else when
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, AttributeError) as error:
        raise InvalidError(f"Invalid created_before: {when!r}. It is a datetime or an ISO 8601 string") from error
