"""CBOR as we write it: what others may have planted is refused before it costs more than its own size.

References are in nothing of ours: with them a few bytes could unfold into more than any memory holds. Nor are most of
the tags that cbor2 knows, some of which compile a pattern or parse an e-mail.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import cbor2

MAX_DECIMAL_PLACES = 10_000
MAX_MANTISSA_BITS = 3 * MAX_DECIMAL_PLACES
MAX_RATIONAL_BITS = 7 * MAX_DECIMAL_PLACES
"""Of a numerator or denominator: enough for any Decimal with as many places before and after its point."""
SET = 258


def _reject(*_: object) -> Any:
    raise ValueError("a tag that stands in nothing of ours")


def _decimal(parts: tuple[int, int], _: bool) -> Decimal:
    """RFC 8949 section 3.4.4. To make digits of all the bits that may stand in a key would take minutes.

    What has no places is an int of ours; written in three bytes, it could have more than three thousand.
    """
    exponent, mantissa = parts
    if mantissa.bit_length() > MAX_MANTISSA_BITS or not -MAX_DECIMAL_PLACES <= exponent < 0:
        raise ValueError("a decimal with more digits than any of ours, or without places")
    sign, digits, _unscaled = Decimal(mantissa).as_tuple()
    return Decimal((sign, digits, exponent))


def _rational(parts: tuple[int, int], _: bool) -> Fraction:
    """RFC 8949 section 3.4.3. A greatest common divisor takes time that grows with the square of the bits."""
    numerator, denominator = parts
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_RATIONAL_BITS:
        raise ValueError("a fraction with more bits than any of ours")
    return Fraction(numerator, denominator)


def _deferred_set(members: list[Any], _: bool) -> cbor2.CBORTag:
    """Whoever makes a set of the members looks at their hashes first."""
    return cbor2.CBORTag(SET, members)


# What a key may be is told by tags (`keys.py`); these are the others that cbor2 knows.
_NOT_IN_KEYS: dict[int, Any] = dict.fromkeys((1, 5, 25, 28, 29, 35, 36, 52, 54, 100, 256, 260, 261, 55799), _reject)
_TAGS_OF_KEYS = (0, 2, 3, 4, 30, 37, SET, 1004, 43000)
_IN_KEYS: dict[int, Any] = _NOT_IN_KEYS | {4: _decimal, 30: _rational, SET: _deferred_set}
_NO_TAGS: dict[int, Any] = _NOT_IN_KEYS | dict.fromkeys(_TAGS_OF_KEYS, _reject)


def loads(data: bytes | memoryview) -> Any:
    """The decoded key, in which sets are still tags. May raise anything for bytes that are no CBOR, or not as we write
    it.

    Maps are in no key, and those of other than texts or byte strings are not even built: see `loads_untagged`.
    """
    return cbor2.loads(data, semantic_decoders=_IN_KEYS, allow_indefinite=False, strict_hashable_types=True)


def loads_untagged(data: bytes, depth: int) -> Any:
    """The decoded item, in which containers are nested `depth` deep at most and nothing is tagged. Raises as `loads`.

    Maps have texts or byte strings as keys: other keys could be chosen so that their hashes collide.
    """
    return cbor2.loads(
        data,
        semantic_decoders=_NO_TAGS,
        max_depth=depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
