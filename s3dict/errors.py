"""Every exception that s3dict raises on purpose.

    Error                                    base class of all s3dict exceptions
    ├── InvalidError (ValueError)            an invalid name, ttl, key, setting or use
    │   └── NotHydratedError (AttributeError)
    │                                        an attribute that is unknown before the first request
    ├── NotFoundError (LookupError)          the dict or the bucket does not exist
    ├── AlreadyExistsError                   a dict with this name exists
    ├── SerializationError (ValueError)      the value or key cannot be serialised
    ├── DeserializationError (ValueError)    the stored bytes cannot be deserialised here
    ├── IntegrityError                       the stored bytes are not what s3dict wrote
    ├── RequestSizeError (ValueError)        the value exceeds ``max_value_bytes``
    ├── ConflictError                        compare-and-set retries exhausted
    ├── LockLostError                        the lease expired, or another process acquired the lock
    ├── LockTimeoutError (TimeoutError)      the lock was not acquired within the timeout
    ├── UncertainOutcomeError                the outcome is unknown: the response was lost
    ├── UnsupportedStoreError                the store does not enforce conditional requests
    ├── PermissionDeniedError (PermissionError)
    │                                        credentials or policies do not allow the request
    └── UnavailableError (ConnectionError)   unreachable, throttled, or 5xx after retries

A missing key is a ``KeyError``, as in any dict. No exception of botocore, aiohttp or another vendor reaches a caller.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = [
    "AlreadyExistsError",
    "BlockingCallWarning",
    "ConflictError",
    "DeserializationError",
    "Error",
    "IntegrityError",
    "InvalidError",
    "LockLostError",
    "LockTimeoutError",
    "NotFoundError",
    "NotHydratedError",
    "PermissionDeniedError",
    "RequestSizeError",
    "SerializationError",
    "UnavailableError",
    "UncertainOutcomeError",
    "UnsupportedStoreError",
]


PolicyName = Literal["reader", "writer", "admin"]
"""The IAM policies that the Terraform module creates."""

_PACKAGES_BENEATH = frozenset(
    {"s3dict", "contextlib", "asyncio", "concurrent", "obstore", "boto3", "botocore", "aioboto3", "aiobotocore"}
)
"""Packages with frames in tracebacks, in which a user does not look for a mistake."""
_EPHEMERAL_ID = re.compile("di-[0-9A-Z]{26}")


def dict_label(dict_name: str) -> str:
    """Return how messages refer to a dict: by its name, or by the id of an ephemeral one."""
    return f"ephemeral Dict {dict_name}" if _EPHEMERAL_ID.fullmatch(dict_name) else f"Dict {dict_name!r}"


def plural(number: float, what: str, many: str = "") -> str:
    """Return a number with what it counts: 1 second, 0.5 seconds, 2,000 entries."""
    return f"{number:{',' if isinstance(number, int) else 'g'}} {what if number == 1 else many or what + 's'}"


def shorten_traceback(error: BaseException) -> None:
    """Empty the traceback of an error, before a bare ``raise``: it then begins at the line of the user.

    It stays if a frame is the user's, such as that of a function that was passed to the call; in Python's development
    mode (``python -X dev``); and for exceptions that are not raised on purpose.
    """
    if sys.flags.dev_mode or not isinstance(error, (Error, KeyError)):
        return
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _PACKAGES_BENEATH:
            return
        traceback = traceback.tb_next
    error.__traceback__ = None


class shortened_traceback:  # noqa: N801 (used as a function)
    """Apply `shorten_traceback` to what is raised inside."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            shorten_traceback(error)


class Error(Exception):
    """Base class of all s3dict exceptions.

    Attributes:
        dict_name: The name of the dict that the failed call was about, or the id of an ephemeral dict; None where
            the error is about no single dict.
        key_repr: The ``repr`` of the key that it was about, shortened; None where it is about no single key.
        failed_keys: After a bulk operation, the keys that are known not to have been processed.
        completed: After a bulk operation, the keys and values that had been read or popped before the failure.
        uncertain: After a bulk operation, the keys that may have been processed, with their values.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.dict_name: str | None = None
        self.key_repr: str | None = None
        self.failed_keys: Sequence[Any] = ()
        self.completed: Mapping[Any, Any] = {}
        self.uncertain: Mapping[Any, Any] = {}

    def __str__(self) -> str:
        message = super().__str__()
        if self.dict_name is None or dict_label(self.dict_name) in message:
            return message
        key = "" if self.key_repr is None else f", key {self.key_repr}"
        return f"{message} ({dict_label(self.dict_name)}{key})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        self.__dict__.update(_renamed(state or {}))

    def _for_many(self, message: str) -> Error:
        """Return an error of this kind for an operation on many keys, of which this was the first to fail."""
        return type(self)(message)


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes in a pickle under the names of today, also those that a pickle of 0.1 contains."""
    renamed = {_NAMES_SINCE_0_1.get(name, name): value for name, value in state.items() if name != "place"}
    place = re.fullmatch(_PLACE_OF_0_1, state.get("place") or "")
    if "place" in state:
        renamed["dict_name"], renamed["key_repr"] = place.group("name", "key") if place else (None, None)
    return renamed


_NAMES_SINCE_0_1 = {"done": "completed", "sent": "maybe_applied"}
_PLACE_OF_0_1 = r"(?s:(?:Dict '(?=.*')|ephemeral Dict )(?P<name>[a-zA-Z0-9\-_.]+)'?(?:, key (?P<key>.*))?)"


class InvalidError(Error, ValueError):
    """A name, ttl, key, setting or use that cannot work. No request was made."""


class NotHydratedError(InvalidError, AttributeError):
    """An attribute is unknown before the first request.

    It is an ``AttributeError``, so that ``hasattr`` is False and ``inspect.getmembers`` skips it.
    """


class NotFoundError(Error, LookupError):
    """The dict or the bucket does not exist."""


class AlreadyExistsError(Error):
    """A dict with this name exists."""


class SerializationError(Error, ValueError):
    """The key or value cannot be serialised. No request was made."""


class DeserializationError(Error, ValueError):
    """The stored bytes are intact, but cannot be deserialised here, because a module is missing, for example."""


class IntegrityError(Error):
    """The stored bytes are not what s3dict wrote: truncated, altered, not signed, or a foreign object."""


class RequestSizeError(Error, ValueError):
    """The value is larger than the client's ``max_value_bytes``. No request was made."""


class ConflictError(Error):
    """Concurrent writers kept changing the entry, or requests kept conflicting (409), until retries were exhausted."""


class LockLostError(Error):
    """The lease expired, or another process acquired the lock, while it was held."""


class LockTimeoutError(Error, TimeoutError):
    """The lock or semaphore was not acquired within the timeout. The message names who held it."""


class UncertainOutcomeError(Error):
    """The outcome is unknown: the response was lost, and the store does not show whether the request was applied.

    ``value`` is the entry's value where the operation was about to return one (``pop``), so that it is not lost.
    """

    def __init__(self, message: str, *, value: Any = None) -> None:
        super().__init__(message)
        self.value = value

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.value is None else f"{message}. The value is the error's `value`"


class UnsupportedStoreError(Error):
    """The store does not enforce the conditional requests that every guarantee of s3dict is based on."""


class PermissionDeniedError(Error, PermissionError):
    """The credentials are missing or were rejected, or the policy does not allow the request.

    Attributes:
        action: What the policy does not allow, such as "s3:PutObject"; None where the credentials are the cause.
        resource: The ARN that ``action`` was denied on; None also for a KMS key that the response does not name.
        policy: The least of the Terraform module's policies that grants it; None where none of them does.
    """

    def __init__(
        self,
        message: str,
        *,
        action: str | None = None,
        resource: str | None = None,
        policy: PolicyName | None = None,
    ) -> None:
        super().__init__(message)
        self.action = action
        self.resource = resource
        self.policy: PolicyName | None = policy

    def _for_many(self, message: str) -> PermissionDeniedError:
        return type(self)(message, action=self.action, resource=self.resource, policy=self.policy)


class UnavailableError(Error, ConnectionError):
    """The store could not be reached, throttled the requests, or responded 5xx, also after retries.

    ``maybe_applied`` is False only when no request can have taken effect.
    """

    def __init__(self, message: str, *, maybe_applied: bool = True) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied


class BlockingCallWarning(RuntimeWarning):
    """A blocking call was made in a thread that runs an asyncio event loop, which it stops until it returns."""
