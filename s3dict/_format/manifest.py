"""The manifest, the JSON object whose creation creates a dict, and `store.json`, with what the store supports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .._record import Record
from ..errors import IntegrityError
from .capabilities import Capabilities
from .layout import FANOUTS, DictId, validate_ttl
from .values import get_codec

FORMAT = 1
FORMAT_WITH_FANOUT = 2
"""Of a manifest only, and only of a dict whose entries are one folder deeper: 0.1 cannot read it."""
_FIX_MANIFEST = "Restore the object, or delete it, which deletes the dict"
_FIX_STORE = "Delete it, and the capabilities of the store are probed again"


class Manifest(Record):
    """A dict's metadata. It never changes while the dict exists."""

    dict_id: DictId
    created_at: datetime
    created_by: str | None
    ttl: timedelta | None
    codec: str
    capabilities: Capabilities
    fanout: int = 0
    """How many digits of its hash name the folder of an entry; 0 where all entries are in one folder."""

    def encode(self) -> bytes:
        return _encode(
            {
                "format": FORMAT_WITH_FANOUT if self.fanout else FORMAT,
                "id": str(self.dict_id),
                "name": self.dict_id.name,
                "environment": self.dict_id.environment,
                "created_at": self.created_at.astimezone(UTC).isoformat(),
                "created_by": self.created_by,
                "ttl_seconds": None if self.ttl is None else self.ttl.total_seconds(),
                "codec": self.codec,
                "store": self.capabilities.to_json(),
            }
            | ({"fanout": self.fanout} if self.fanout else {})
        )


def decode_manifest(data: bytes | bytearray, path: str) -> Manifest | None:
    """Return the manifest in `data`, or None for the tombstone of a deleted dict.

    Raises:
        IntegrityError: `data` is neither.
    """
    fields = _decode(data, path, _FIX_MANIFEST, FORMAT_WITH_FANOUT)
    if fields.get("deleted"):
        return None
    try:
        return _manifest(fields)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IntegrityError) as error:
        raise IntegrityError(f"The manifest {path!r} cannot be read: {error}. {_FIX_MANIFEST}") from error


def encode_deleted(write_id: str) -> bytes:
    """Return the tombstone that replaces a manifest where the store does not support conditional deletes."""
    return _encode({"format": FORMAT, "deleted": True, "write_id": write_id})


def encode_store_json(capabilities: Capabilities) -> bytes:
    return _encode({"format": FORMAT, "store": capabilities.to_json()})


def decode_store(data: bytes | bytearray, path: str) -> Capabilities:
    """Return the capabilities in `store.json`.

    Raises:
        IntegrityError: `data` is not a `store.json` written by s3dict.
    """
    fields = _decode(data, path, _FIX_STORE)
    try:
        return Capabilities.from_json(fields["store"])
    except (KeyError, AttributeError, IntegrityError) as error:
        raise IntegrityError(f"{path!r} does not contain the store's capabilities: {error}. {_FIX_STORE}") from error


def _manifest(fields: dict[str, Any]) -> Manifest:
    created_at = datetime.fromisoformat(fields["created_at"])
    if created_at.tzinfo is None or not isinstance(fields["created_by"], (str, type(None))):
        raise IntegrityError("created_at lacks a time zone, or created_by is not a string")
    seconds, fanout = fields["ttl_seconds"], fields["fanout"] if fields["format"] == FORMAT_WITH_FANOUT else 0
    if fanout not in FANOUTS or type(fanout) is not int:
        raise IntegrityError(f"fanout is {fanout!r}, and not one of {', '.join(map(str, FANOUTS))}")
    return Manifest(
        dict_id=DictId.parse(fields["id"]),
        created_at=created_at.astimezone(UTC),
        created_by=fields["created_by"],
        ttl=validate_ttl(None if seconds is None else timedelta(seconds=seconds)),
        codec=get_codec(fields["codec"]).name,
        capabilities=Capabilities.from_json(fields["store"]),
        fanout=fanout,
    )


def _encode(fields: dict[str, Any]) -> bytes:
    import json

    return json.dumps(fields, indent=1).encode()


def _decode(data: bytes | bytearray, path: str, fix: str, known: int = FORMAT) -> dict[str, Any]:
    """Return the fields. `fix` is what the error suggests for an object that is damaged, but not for a newer one."""
    import json

    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path!r} is not JSON: {error}. {fix}") from error
    if not isinstance(fields, dict) or type(fields.get("format")) is not int or fields["format"] < 1:
        raise IntegrityError(f"{path!r} was not written by s3dict: it lacks a format number. {fix}")
    if fields["format"] > known:
        raise IntegrityError(
            f"{path!r} has format {fields['format']}, newer than the {known} known here: upgrade s3-shared-dict"
        )
    return fields
