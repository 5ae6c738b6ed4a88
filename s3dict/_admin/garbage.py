"""Data that belongs to no dict any more, found and removed."""

from __future__ import annotations

from .._client import Client
from .._format.layout import check_name
from .._stores.shared.threads import run_blocking
from . import orphans as core
from .orphans import Garbage

__all__ = ["Garbage", "find_garbage", "remove_garbage"]


def find_garbage(client: Client, environment_name: str | None = None) -> list[Garbage]:
    """What interrupted deletes and dead ephemeral dicts left under the client's prefix, oldest dict first.

    The lifecycle rules sweep most of it in time; where a dict was made with ``ttl=None``, nothing else does. Entries
    that are over, and locks, are not garbage while their dict exists. An ephemeral dict whose process died is garbage
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
        check_name(environment_name, "environment")
    store, concurrency = client._store(aio=False), client._settings.concurrency
    return run_blocking(core.find_garbage(store, client._layout, environment_name, concurrency))


def remove_garbage(client: Client, garbage: Garbage) -> bool:
    """Deletes it, after another look at whether it is still garbage; whether it was deleted.

    1 request, a listing, and 1 for each thousand objects.
    """
    return run_blocking(core.remove_garbage(client._store(aio=False), client._layout, garbage))
