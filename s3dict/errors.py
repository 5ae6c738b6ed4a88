"""Everything that s3dict raises on purpose.

    Error
    ├── InvalidError (ValueError)            a bad name, ttl, key or setting
    ├── NotFoundError (LookupError)          no such dict, no such bucket
    ├── AlreadyExistsError
    ├── SerializationError (ValueError)      the value or key cannot be turned into bytes
    ├── DeserializationError (ValueError)    the bytes cannot be turned into a value here
    ├── IntegrityError                       bytes that are not what we wrote
    ├── RequestSizeError (ValueError)        a value over ``max_value_bytes``
    ├── ConflictError                        compare-and-set given up
    ├── LockLostError
    ├── LockTimeoutError (TimeoutError)
    ├── UncertainOutcomeError                the answer was lost, and nothing can tell
    ├── UnsupportedStoreError                the store does not honour what we need
    ├── PermissionDeniedError (PermissionError)
    └── UnavailableError (ConnectionError)   unreachable, throttled, 5xx after retries

A missing key is a ``KeyError``, as in any dict. No exception of botocore, aiohttp or another vendor reaches a caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = [
    "AlreadyExistsError",
    "ConflictError",
    "DeserializationError",
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
]


PolicyName = Literal["reader", "writer", "admin"]
"""The policies that the Terraform module makes."""


class Error(Exception):
    """The root of the tree.

    ``place`` says which dict and key the failing call was about, once the layer that knows them has seen the error;
    it ends the message. Bulk operations fill ``failed_keys``, the keys that are known not to have made it, and
    ``completed``, the keys and values that had been read or taken out by then.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.place: str | None = None
        self.failed_keys: Sequence[Any] = ()
        self.completed: Mapping[Any, Any] = {}
        self.uncertain: Mapping[Any, Any] = {}

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.place})" if self.place else message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__

    def _for_many(self, message: str) -> Error:
        """An error of this kind for an operation on many keys, of which this was the first to fail."""
        return type(self)(message)


class InvalidError(Error, ValueError):
    """A bad name, ttl, key or setting. Nothing was sent."""


class NotFoundError(Error, LookupError):
    """No such dict, or no such bucket."""


class AlreadyExistsError(Error):
    """A dict with this name is already there."""


class SerializationError(Error, ValueError):
    """The key or value cannot be turned into bytes. Nothing was sent."""


class DeserializationError(Error, ValueError):
    """The bytes are what was written, but cannot be turned into a value here: a module is missing, say."""


class IntegrityError(Error):
    """The bytes are not what we wrote: truncated, tampered with, unsigned, or never ours."""


class RequestSizeError(Error, ValueError):
    """The value is larger than the client's ``max_value_bytes``. Nothing was sent."""


class ConflictError(Error):
    """Others kept changing the entry, and the compare-and-set was given up."""


class LockLostError(Error):
    """The lease ran out, or somebody took the lock over, while it was held."""


class LockTimeoutError(Error, TimeoutError):
    """The lock was not free within the timeout."""


class UncertainOutcomeError(Error):
    """The answer was lost, and what the store shows cannot tell whether the request took effect.

    ``value`` is the entry's value where the operation was about to return one (``pop``), so that nothing is lost.
    """

    def __init__(self, message: str, *, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


class UnsupportedStoreError(Error):
    """The store does not honour the conditional requests that every promise here stands on."""


class PermissionDeniedError(Error, PermissionError):
    """The credentials are missing or not accepted, or the policy does not allow the request.

    Where it is the policy, ``action`` is what was not allowed ("s3:PutObject"), ``resource`` the ARN of what (None for
    a KMS key that the store does not name), and ``policy`` which of the Terraform module's policies grants that:
    "reader", "writer", "admin", or None where none does. Where it is the credentials, all three are None.
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
    """The store could not be reached, throttled us, or answered 5xx, also after retries.

    ``maybe_applied`` is False only when no request can have taken effect.
    """

    def __init__(self, message: str, *, maybe_applied: bool = True) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied
