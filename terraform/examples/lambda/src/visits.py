"""A Lambda function that counts visits: no two visitors get the same number, however many arrive at once."""

from __future__ import annotations

from typing import Any

from s3dict import Dict

# Created once for each execution environment, without a request. The first invocation looks the dict up.
visits: Dict[str, int] = Dict.from_name("visits", create_if_missing=True)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Count a visit of ``event["page"]``, and return the number of visits so far."""
    page = event.get("page", "home")
    return {"page": page, "visits": visits.modify(page, lambda count: count + 1, default=0)}
