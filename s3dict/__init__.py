"""s3dict: a Python dict that lives in an S3 bucket."""

from __future__ import annotations

from .client import Client
from .dict import Dict, DictInfo, Entry
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
from .memoize import memoize

__all__ = [
    "AlreadyExistsError",
    "Client",
    "ConflictError",
    "DeserializationError",
    "Dict",
    "DictInfo",
    "Entry",
    "Error",
    "IntegrityError",
    "InvalidError",
    "LockLostError",
    "LockTimeoutError",
    "NotFoundError",
    "PermissionDeniedError",
    "RequestSizeError",
    "SerializationError",
    "UnavailableError",
    "UncertainOutcomeError",
    "UnsupportedStoreError",
    "memoize",
]
