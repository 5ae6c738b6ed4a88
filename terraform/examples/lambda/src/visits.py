"""A Lambda function that counts visits: no two visitors get the same number, however many there are at once."""

from __future__ import annotations

from typing import Any

from s3dict import Dict

# Made once for each execution environment, and without a request. The first invocation looks the dict up.
visits: Dict[str, int] = Dict.from_name("visits", create_if_missing=True)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Counts a visit of ``event["page"]``, and return how many there have been."""
    page = event.get("page", "home")
    return {"page": page, "visits": visits.modify(page, lambda count: count + 1, default=0)}
