"""CBOR as we write it: without references, with which a few bytes could unfold into more than any memory holds."""

from __future__ import annotations

from typing import Any

import cbor2


def _refuse(*_: object) -> Any:
    raise ValueError("a reference to what stands elsewhere")


# String references (25, 256) and shared values (28, 29).
_REFUSED: dict[int, Any] = dict.fromkeys((25, 28, 29, 256), _refuse)


def loads(data: bytes | memoryview) -> Any:
    """The decoded item. May raise anything for bytes that are no CBOR, or not as we write it."""
    return cbor2.loads(data, semantic_decoders=_REFUSED)
