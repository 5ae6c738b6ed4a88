"""s3dict: a Python dict that lives in an S3 bucket."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import errors as errors
    from ._client import Client
    from ._counter import Counter
    from ._dict import Dict
    from ._info import DictInfo, DictStats, Entry
    from ._lock import HeldLock, Lock, LockHolder, Semaphore
    from ._memoize import code_hash, memoize
    from ._memoized import CacheInfo
    from ._stores.shared.events import RequestEvent
    from .errors import (
        AlreadyExistsError,
        ConflictError,
        DeserializationError,
        Error,
        IntegrityError,
        InvalidError,
        LockLostError,
        LockTimeoutError,
        NotFoundError,
        PermissionDeniedError,
        RequestSizeError,
        SerializationError,
        UnavailableError,
        UncertainOutcomeError,
        UnsupportedStoreError,
    )

__version__ = "0.1.0"

__all__ = [
    "AlreadyExistsError",
    "CacheInfo",
    "Client",
    "ConflictError",
    "Counter",
    "DeserializationError",
    "Dict",
    "DictInfo",
    "DictStats",
    "Entry",
    "Error",
    "HeldLock",
    "IntegrityError",
    "InvalidError",
    "Lock",
    "LockHolder",
    "LockLostError",
    "LockTimeoutError",
    "NotFoundError",
    "PermissionDeniedError",
    "RequestEvent",
    "RequestSizeError",
    "Semaphore",
    "SerializationError",
    "UnavailableError",
    "UncertainOutcomeError",
    "UnsupportedStoreError",
    "__version__",
    "code_hash",
    "memoize",
]


# Pickles of 0.1 refer to modules that are found there.
__path__.append(f"{__path__[0]}/_legacy")

# Loaded on first use, with the modules they need: each import adds to a cold start. The other names are errors.
_MODULES = {
    "CacheInfo": "_memoized",
    "Client": "_client",
    "Counter": "_counter",
    "Dict": "_dict",
    "DictInfo": "_info",
    "DictStats": "_info",
    "Entry": "_info",
    "HeldLock": "_lock",
    "Lock": "_lock",
    "LockHolder": "_lock",
    "RequestEvent": "_stores.shared.events",
    "Semaphore": "_lock",
    "code_hash": "_memoize",
    "memoize": "_memoize",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "errors":
        return import_module(".errors", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES.get(name, 'errors')}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__
