"""The body of a lock object: its owner, its lease after the last renewal, and its fencing token."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b

from ..errors import IntegrityError
from .keys import HASH_BYTES

MAX_LEASE = 86_400.0
MAX_TOKEN = 1 << 62
"""Tokens are times in milliseconds, or a little more: nothing greater is one."""


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The content of a lock object.

    `owner` is random and identifies one acquisition, None when the lock has been released; `write_id` is random and
    identifies one write: an acquisition, a renewal or a release.
    """

    owner: str | None
    write_id: str
    lease: float
    token: int

    def encode(self) -> bytes:
        import json

        return json.dumps({"format": 1, **asdict(self)}).encode()


def decode_lock(data: bytes | bytearray) -> LockRecord:
    """Return the record in a lock object. Raises IntegrityError if it was not written by s3dict."""
    import json

    try:
        fields = json.loads(data)
        owner, write_id, lease, token = fields["owner"], fields["write_id"], float(fields["lease"]), fields["token"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(f"The lock object cannot be read: {error}") from error
    if (
        not isinstance(owner, (str, type(None)))
        or not isinstance(write_id, str)
        or type(token) is not int
        or not 0 <= token <= MAX_TOKEN
        or not 0 < lease <= MAX_LEASE
    ):
        raise IntegrityError("The lock object has invalid fields")
    return LockRecord(owner, write_id, lease, token)


def lock_segment(kind: str, name: bytes) -> str:
    """Return the last segment of a lock's path. `kind` separates locks by name from locks of computations."""
    return blake2b(name, digest_size=HASH_BYTES, person=kind.encode()).hexdigest()
