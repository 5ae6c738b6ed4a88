"""The manifest: the JSON object whose creation creates a dict, and `store.json`, which says what the store honours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import IntegrityError
from .capabilities import Capabilities
from .layout import DictId, validate_ttl
from .values import get_codec

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """A dict's metadata. It never changes while the dict exists."""

    dict_id: DictId
    created_at: datetime
    created_by: str | None
    ttl: timedelta | None
    codec: str
    capabilities: Capabilities

    def encode(self) -> bytes:
        return _encode(
            {
                "format": FORMAT,
                "id": str(self.dict_id),
                "name": self.dict_id.name,
                "environment": self.dict_id.environment,
                "created_at": self.created_at.astimezone(UTC).isoformat(),
                "created_by": self.created_by,
                "ttl_seconds": None if self.ttl is None else self.ttl.total_seconds(),
                "codec": self.codec,
                "store": self.capabilities.to_json(),
            }
        )


def decode_manifest(data: bytes | bytearray, path: str) -> Manifest | None:
    """The manifest in `data`; None for the mark of a deleted dict. Raises IntegrityError for anything else."""
    fields = _decode(data, path)
    if fields.get("deleted"):
        return None
    try:
        return _manifest(fields)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IntegrityError) as error:
        raise IntegrityError(f"The manifest {path!r} cannot be read: {error}") from error


def encode_deleted(write_id: str) -> bytes:
    """What takes a manifest's place where the store cannot delete on a condition."""
    return _encode({"format": FORMAT, "deleted": True, "write_id": write_id})


def encode_store_json(capabilities: Capabilities) -> bytes:
    return _encode({"format": FORMAT, "store": capabilities.to_json()})


def decode_store(data: bytes | bytearray, path: str) -> Capabilities:
    """Raises IntegrityError for what is no `store.json` of ours."""
    try:
        return Capabilities.from_json(_decode(data, path)["store"])
    except (KeyError, AttributeError, IntegrityError) as error:
        raise IntegrityError(
            f"{path!r} does not say what the store honours; remove it, and it is found out again: {error}"
        ) from error


def _manifest(fields: dict[str, Any]) -> Manifest:
    created_at = datetime.fromisoformat(fields["created_at"])
    if created_at.tzinfo is None or not isinstance(fields["created_by"], (str, type(None))):
        raise IntegrityError("created_at lacks its time zone, or created_by is no text")
    seconds = fields["ttl_seconds"]
    return Manifest(
        dict_id=DictId.parse(fields["id"]),
        created_at=created_at.astimezone(UTC),
        created_by=fields["created_by"],
        ttl=validate_ttl(None if seconds is None else timedelta(seconds=seconds)),
        codec=get_codec(fields["codec"]).name,
        capabilities=Capabilities.from_json(fields["store"]),
    )


def _encode(fields: dict[str, Any]) -> bytes:
    import json

    return json.dumps(fields, indent=1).encode()


def _decode(data: bytes | bytearray, path: str) -> dict[str, Any]:
    import json

    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path!r} is no JSON: {error}") from error
    if not isinstance(fields, dict) or type(fields.get("format")) is not int or fields["format"] < 1:
        raise IntegrityError(f"{path!r} is not one of ours: it says no format")
    if fields["format"] > FORMAT:
        raise IntegrityError(
            f"{path!r} has format {fields['format']}, newer than the {FORMAT} known here: upgrade s3-shared-dict"
        )
    return fields
