"""Proxies that repeat requests: what shows from here that one between this machine and the store does it."""

from __future__ import annotations

import os
from collections.abc import Callable

from .._format.capabilities import Capabilities
from .._stores.base import NotModified, ObjectStore, PreconditionFailed, PutResult
from ..errors import UnavailableError

ROUNDS = 4


async def repeated_methods(
    store: ObjectStore, new_path: Callable[[], str], capabilities: Capabilities | None
) -> tuple[str, ...]:
    """Return which of PUT and DELETE were applied more than once, although each was sent once.

    A conditional request has the proof in its response: 412, although the request was applied and no other client knows
    the object's name. A proxy that repeats only after a failure, as most do, is found only if one happens.

    Args:
        store: The store.
        new_path: Returns a name that no object has.
        capabilities: What the store supports; None if that is not known.

    Requests: 2 for each of 4 rounds, 1 more for each refusal.
    """
    found = dict.fromkeys(("PUT", "DELETE"), False)
    for _ in range(ROUNDS):
        path, nonce = new_path(), os.urandom(16)
        try:
            response = await store.put(path, nonce, if_none_match=True)
            if isinstance(response, PreconditionFailed):
                found["PUT"] |= await _read(store, path) == nonce
            elif isinstance(response, PutResult) and capabilities is not None and capabilities.conditional_delete:
                if_match = capabilities.if_match(response.etag)
                if isinstance(await store.delete(path, if_match=if_match), PreconditionFailed):
                    found["DELETE"] |= await _read(store, path) is None
                continue
            await store.delete(path)
        except UnavailableError:
            # What became of it is not known: no proof of anything.
            continue
    return tuple(method for method, is_repeated in found.items() if is_repeated)


async def _read(store: ObjectStore, path: str) -> bytes | None:
    found = await store.get(path)
    assert not isinstance(found, NotModified)
    return None if found is None else bytes(found.body)
