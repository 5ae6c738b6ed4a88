"""CBOR as we write it: what others may have planted is refused before it costs more than its own size.

References are in nothing of ours: with them a few bytes could unfold into more than any memory holds. Nor are most of
the tags that cbor2 knows, some of which compile a pattern or parse an e-mail.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import cbor2

MAX_DECIMAL_PLACES = 10_000
MAX_MANTISSA_BITS = 3 * MAX_DECIMAL_PLACES


def _refuse(*_: object) -> Any:
    raise ValueError("a tag that stands in nothing of ours")


def _decimal(parts: tuple[int, int], _: bool) -> Decimal:
    """RFC 8949 section 3.4.4. To make digits of all the bits that may stand in a key would take minutes."""
    exponent, mantissa = parts
    if mantissa.bit_length() > MAX_MANTISSA_BITS:
        raise ValueError("a decimal with more digits than any of ours")
    sign, digits, _unscaled = Decimal(mantissa).as_tuple()
    return Decimal((sign, digits, exponent))


# What a key may be is told by tags (`keys.py`); these are the others that cbor2 knows.
_NOT_IN_KEYS: dict[int, Any] = dict.fromkeys((1, 5, 25, 28, 29, 35, 36, 52, 54, 100, 256, 260, 261, 55799), _refuse)
_TAGS_OF_KEYS = (0, 2, 3, 4, 30, 37, 258, 1004, 43000)
_IN_KEYS: dict[int, Any] = _NOT_IN_KEYS | {4: _decimal}
_NONE_AT_ALL: dict[int, Any] = _NOT_IN_KEYS | dict.fromkeys(_TAGS_OF_KEYS, _refuse)


def loads(data: bytes | memoryview) -> Any:
    """The decoded key. May raise anything for bytes that are no CBOR, or not as we write it."""
    return cbor2.loads(data, semantic_decoders=_IN_KEYS, allow_indefinite=False)


def loads_plain(data: bytes, depth: int) -> Any:
    """The decoded item, in which containers are nested `depth` deep at most and nothing is tagged. Raises as `loads`.

    Maps have texts or byte strings as keys: other keys could be chosen so that their hashes collide.
    """
    return cbor2.loads(
        data,
        semantic_decoders=_NONE_AT_ALL,
        max_depth=depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
