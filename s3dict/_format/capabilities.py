"""What a store supports according to the probe, as recorded in `store.json` and in the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._record import Record, as_dict, replace
from ..errors import IntegrityError

_REQUIRED = ("quoted_etags", "conditional_delete", "conditional_copy")


class Capabilities(Record):
    """The optional capabilities. Conditional PUTs are not among them: a store without them is rejected."""

    quoted_etags: bool
    """If-Match accepts the ETag as the store returned it; Ceph before Quincy requires it without quotes."""
    conditional_delete: bool
    """DELETE enforces If-Match; otherwise removing an entry writes a tombstone."""
    conditional_copy: bool
    """CopyObject enforces both CopySourceIfMatch and If-Match."""
    ordered_listing: bool = True
    """Listings are in the order of the paths and continue after any path."""
    conditional_bulk_delete: bool = False
    """DeleteObjects enforces the ETag of each key."""
    unquoted_responses: bool = False
    """The store returns ETags without the quotes that its If-Match requires."""

    @property
    def etag_form(self) -> str:
        """How If-Match has ETags that it accepts; empty if as the store returns them."""
        if self.unquoted_responses:
            return "ETags with quotes, which responses lack"
        return "" if self.quoted_etags else "ETags without their quotes"

    def if_match(self, etag: str) -> str:
        """Return the ETag in the form that this store compares."""
        bare = etag.strip('"')
        if self.unquoted_responses:
            return f'"{bare}"'
        return etag if self.quoted_etags else bare

    def with_other_quotes(self, etag: str) -> Capabilities:
        """Return these capabilities for a store that compares `etag` with quotes if it was without, or the reverse."""
        lacks_quotes = not etag.startswith('"')
        return replace(self, quoted_etags=lacks_quotes, unquoted_responses=lacks_quotes)

    def to_json(self) -> dict[str, bool]:
        """Return the record, without what has its default: so it is that of 0.1 wherever nothing newer is known."""
        values = as_dict(self)
        required = {name: values[name] for name in _REQUIRED}
        defaults = as_dict(Capabilities(**required))
        return required | {name: value for name, value in values.items() if value != defaults[name]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Capabilities:
        """Return the recorded capabilities. Those that older records lack have defaults.

        Raises:
            IntegrityError: One of them is missing or is not a boolean.
        """
        recorded = {name: value for name, value in record.items() if name in cls.__match_args__}
        invalid = [name for name in (*_REQUIRED, *recorded) if type(record.get(name)) is not bool]
        if invalid:
            raise IntegrityError(f"Capability {', '.join(dict.fromkeys(invalid))} must be a boolean")
        return cls(**recorded)
