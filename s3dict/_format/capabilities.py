"""What a store supports according to the probe, as recorded in `store.json` and in the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The optional capabilities. Conditional PUTs are not among them: a store without them is rejected."""

    quoted_etags: bool
    """If-Match accepts the ETag as the store returned it; Ceph before Quincy requires it without quotes."""
    conditional_delete: bool
    """DELETE enforces If-Match; otherwise removing an entry writes a tombstone."""
    conditional_copy: bool
    """CopyObject enforces both CopySourceIfMatch and If-Match."""

    def if_match(self, etag: str) -> str:
        """Return the ETag in the form that this store compares."""
        return etag if self.quoted_etags else etag.strip('"')

    def to_json(self) -> dict[str, bool]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Capabilities:
        """Return the recorded capabilities.

        Raises:
            IntegrityError: one of them is missing or is not a boolean.
        """
        names = ("quoted_etags", "conditional_delete", "conditional_copy")
        missing = [name for name in names if type(fields.get(name)) is not bool]
        if missing:
            raise IntegrityError(f"Capability {', '.join(missing)} must be a boolean")
        return cls(*(fields[name] for name in names))
