"""What the adapters share: the Dict that a framework's configuration describes, and timeouts as ttls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from .. import Client, Dict, InvalidError

__all__ = ["DEFAULT_TTL", "as_ttl", "open_dict"]

DEFAULT_TTL = timedelta(days=30)
"""The ttl of the Dicts that adapters create: a lifecycle rule deletes an entry that was not used for so long."""
_MAX_TTL = 2**32 - 1
"""The longest ttl of an entry, in seconds."""


def open_dict(
    name: str,
    *,
    ttl: float | timedelta | None = DEFAULT_TTL,
    codec: str = "cloudpickle",
    environment_name: str | None = None,
    client: Client | None = None,
    **client_options: Any,
) -> Dict[Any, Any]:
    """Return a handle of the Dict that an adapter keeps its data in; it is created at first use.

    Frameworks make an adapter for each thread or request. Equal `client_options` share one Client, and so one pool of
    connections.

    Args:
        name: The Dict's name.
        ttl: The Dict's ttl.
        codec: The Dict's codec.
        environment_name: A namespace of names; None is the client's.
        client: The Client to use.
        client_options: Arguments of `Client`, such as `bucket`; without any, the environment names the client.

    Raises:
        InvalidError: An option is invalid, or both `client` and options of one are given.
    """
    if client_options:
        if client is not None:
            raise InvalidError(f"Give either client or the options of one, not both: {sorted(client_options)}")
        client = _client(_ClientOptions(client_options))
    return Dict.from_name(
        name, environment_name=environment_name, create_if_missing=True, client=client, ttl=ttl, codec=codec
    )


@dataclass(frozen=True, slots=True)
class _ClientOptions:
    """Arguments of a `Client`. Some, such as `headers`, are not hashable."""

    arguments: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(frozenset(self.arguments))


@lru_cache(maxsize=64)
def _client(options: _ClientOptions) -> Client:
    try:
        return Client(**options.arguments)
    except TypeError as error:
        raise InvalidError(f"Unknown option: {error}") from error


def as_ttl(timeout: float | timedelta | None, longest: float | timedelta | None) -> int | None:
    """Return a framework's timeout as the ttl of an entry, in whole seconds; None where the entry needs none.

    Args:
        timeout: Seconds or a timedelta, more than 0; None for an entry that lives as long as it is read within the
            Dict's ttl.
        longest: The Dict's ttl, which no entry's ttl may exceed: a longer timeout is cut to it.
    """
    if timeout is None:
        return None
    most = _MAX_TTL if longest is None else int(_seconds(longest))
    return max(1, math.ceil(min(_seconds(timeout), most)))


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
