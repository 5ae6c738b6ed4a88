"""The body of a lock object: its owner, its lease after the last renewal, and its fencing token."""

from __future__ import annotations

from .._record import Record, as_dict
from ..errors import IntegrityError
from .c_modules import blake2b
from .keys import HASH_BYTES

MAX_LEASE = 86_400.0
MAX_TOKEN = 1 << 62
"""Tokens are times in milliseconds, or a little more: nothing greater is one."""
MAX_TIMESTAMP = 253_402_300_799
"""The last second of the year 9999."""


class LockDetails(Record):
    """What an operator wants to know about a lock. Nothing is decided by it, but that `permits` must agree.

    Args:
        kind: "lock", "compute" or "semaphore"; empty where release 0.1 wrote the object.
        name: The lock's name, or the key of a computation as Python shows it.
        holder: Who acquired it.
        acquired_at: When, in seconds since 1970, by the clock of the process that acquired it.
        permits: Of a semaphore, how many processes may be inside.
    """

    kind: str = ""
    name: str = ""
    holder: str = ""
    acquired_at: int = 0
    permits: int = 0


class LockRecord(Record):
    """The content of a lock object.

    `owner` is random and identifies one acquisition, None when the lock has been released; `write_id` is random and
    identifies one write: an acquisition, a renewal or a release.
    """

    owner: str | None
    write_id: str
    lease: float
    token: int
    details: LockDetails = LockDetails()

    def encode(self) -> bytes:
        import json

        record = as_dict(self)
        return json.dumps({"format": 1, **as_dict(record.pop("details")), **record}).encode()


def decode_lock(data: bytes | bytearray) -> LockRecord:
    """Return the record in a lock object. Raises IntegrityError if it was not written by s3dict."""
    import json

    try:
        found = json.loads(data)
        owner, write_id, lease, token = found["owner"], found["write_id"], float(found["lease"]), found["token"]
        details = LockDetails(**{name: found[name] for name in LockDetails.__match_args__ if name in found})
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(f"The lock object cannot be read: {error}") from error
    if (
        not isinstance(owner, (str, type(None)))
        or not isinstance(write_id, str)
        or type(token) is not int
        or not 0 <= token <= MAX_TOKEN
        or not 0 < lease <= MAX_LEASE
        or not _are_valid(details)
    ):
        raise IntegrityError("The lock object has invalid fields")
    return LockRecord(owner, write_id, lease, token, details)


def _are_valid(details: LockDetails) -> bool:
    texts, numbers = (details.kind, details.name, details.holder), (details.acquired_at, details.permits)
    return all(isinstance(text, str) for text in texts) and all(
        type(number) is int and 0 <= number <= MAX_TIMESTAMP for number in numbers
    )


def lock_segment(kind: str, name: bytes) -> str:
    """Return the last segment of a lock's path. Locks of different kinds have separate names."""
    return blake2b(name, digest_size=HASH_BYTES, person=kind.encode()).hexdigest()
