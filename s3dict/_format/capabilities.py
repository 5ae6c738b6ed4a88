"""What a store was seen to honour, as `store.json` and the manifests keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Conditional PUTs are not listed: a store without them is refused."""

    quoted_etags: bool
    """If-Match takes the ETag as it was given; Ceph before Quincy wants it without its quotes."""
    conditional_delete: bool
    """If-Match counts on DELETE; otherwise removing an entry writes a tombstone."""
    conditional_copy: bool
    """CopySourceIfMatch and If-Match both count on CopyObject."""

    def if_match(self, etag: str) -> str:
        """The ETag in the spelling that this store compares."""
        return etag if self.quoted_etags else etag.strip('"')

    def to_json(self) -> dict[str, bool]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Capabilities:
        """Raises IntegrityError unless every capability is there and is a boolean."""
        names = ("quoted_etags", "conditional_delete", "conditional_copy")
        missing = [name for name in names if type(fields.get(name)) is not bool]
        if missing:
            raise IntegrityError(f"Of what the store honours, {', '.join(missing)} is neither true nor false")
        return cls(*(fields[name] for name in names))
