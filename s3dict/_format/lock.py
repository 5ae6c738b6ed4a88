"""The body of a lock object: who holds it, for how long after its last renewal, and its fencing token."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b

from ..errors import IntegrityError
from .keys import HASH_BYTES

MAX_LEASE = 86_400.0
MAX_TOKEN = 1 << 62
"""Tokens are times in milliseconds, or a little more. What is past this was never one."""


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What a lock object says.

    ``owner`` is random and belongs to one holding, None when the lock has been released; ``write_id`` is random and
    belongs to one write, be it a taking, a renewal or a release.
    """

    owner: str | None
    write_id: str
    lease: float
    token: int

    def encode(self) -> bytes:
        import json

        return json.dumps({"format": 1, **asdict(self)}).encode()


def decode_lock(data: bytes | bytearray) -> LockRecord:
    """Raises IntegrityError for what is no lock of ours."""
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
        raise IntegrityError("The lock object has fields that no lock has")
    return LockRecord(owner, write_id, lease, token)


def lock_segment(kind: str, name: bytes) -> str:
    """The last segment of a lock's path. `kind` keeps locks by name and locks of computations apart."""
    return blake2b(name, digest_size=HASH_BYTES, person=kind.encode()).hexdigest()
