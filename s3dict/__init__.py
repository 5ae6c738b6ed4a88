"""s3dict: a Python dict that lives in an S3 bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._client import Client
from ._dict import Dict
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

if TYPE_CHECKING:
    from ._counter import Counter
    from ._info import DictInfo, DictStats, Entry
    from ._lock import HeldLock, Lock, LockHolder, Semaphore
    from ._memoize import code_hash, memoize
    from ._memoized import CacheInfo
    from ._stores.shared.events import RequestEvent

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

# What is public is pickled, and shown, as what users import: private modules can move.
for _public in (Client, Dict, Dict.from_name, Dict.from_id):
    _public.__module__ = __name__


# Loaded on first use, with the modules they need: each import adds to a cold start.
_LAZY = {
    "CacheInfo": "_memoized",
    "Counter": "_counter",
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
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
