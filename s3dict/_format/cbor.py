"""CBOR as s3dict writes it: foreign input is rejected before it costs more than its own size.

References are not used: with them a few bytes could unfold into more than any memory holds. Nor are most of the tags
that cbor2 knows, some of which compile a pattern or parse an e-mail.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cbor2

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

MAX_DECIMAL_PLACES = 10_000
MAX_MANTISSA_BITS = 3 * MAX_DECIMAL_PLACES
MAX_RATIONAL_BITS = 7 * MAX_DECIMAL_PLACES
"""Of a numerator or denominator: enough for any Decimal with as many places before and after its point."""
SET = 258
_ARRAY, _TAG = 4, 6


def _reject(*_: object) -> Any:
    raise ValueError("s3dict does not write this tag")


def _decimal(parts: tuple[int, int], _: bool) -> Decimal:
    """Decode RFC 8949 section 3.4.4. Converting all the bits that a key may have into digits would take minutes.

    A number without decimal places is written as an int; as a decimal of three bytes it could have 3,000 digits.
    """
    exponent, mantissa = parts
    if mantissa.bit_length() > MAX_MANTISSA_BITS or not -MAX_DECIMAL_PLACES <= exponent < 0:
        raise ValueError("a decimal with more digits than s3dict writes, or without decimal places")
    from decimal import Decimal

    sign, digits, _unscaled = Decimal(mantissa).as_tuple()
    return Decimal((sign, digits, exponent))


def _rational(parts: tuple[int, int], _: bool) -> Fraction:
    """Decode RFC 8949 section 3.4.3. The time of a greatest common divisor grows with the square of the bits."""
    numerator, denominator = parts
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_RATIONAL_BITS:
        raise ValueError("a fraction with more bits than s3dict writes")
    from fractions import Fraction

    return Fraction(numerator, denominator)


def _deferred_set(members: list[Any], _: bool) -> cbor2.CBORTag:
    """Keep the members: `keys` checks their hashes before it makes a set of them."""
    return cbor2.CBORTag(SET, members)


# Tags that cbor2 knows and keys (`keys.py`) do not use.
_NOT_IN_KEYS: dict[int, Any] = dict.fromkeys((1, 5, 25, 28, 29, 35, 36, 52, 54, 100, 256, 260, 261, 55799), _reject)
_TAGS_OF_KEYS = (0, 2, 3, 4, 30, 37, SET, 1004, 43000)
_IN_KEYS: dict[int, Any] = _NOT_IN_KEYS | {4: _decimal, 30: _rational, SET: _deferred_set}
_NO_TAGS: dict[int, Any] = _NOT_IN_KEYS | dict.fromkeys(_TAGS_OF_KEYS, _reject)


def loads(data: bytes | memoryview) -> Any:
    """Return the decoded key, in which sets are still tags.

    May raise anything for bytes that are not CBOR as s3dict writes it. Keys contain no maps, and maps with keys other
    than strings or byte strings are not even built: see `loads_untagged`.
    """
    return cbor2.loads(data, semantic_decoders=_IN_KEYS, allow_indefinite=False, strict_hashable_types=True)


def loads_untagged(data: bytes, depth: int) -> Any:
    """Return the decoded item, in which containers are nested at most `depth` deep and nothing is tagged.

    Raises as `loads` does. The keys of maps are strings or byte strings: others could be chosen to collide in hashing.
    """
    return cbor2.loads(
        data,
        semantic_decoders=_NO_TAGS,
        max_depth=depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )


def array(items: list[bytes]) -> bytes:
    """Encode an array of encoded items."""
    return _head(_ARRAY, len(items)) + b"".join(items)


def tagged(tag: int, item: bytes) -> bytes:
    """Encode a tag of an encoded item."""
    return _head(_TAG, tag) + item


def _head(major: int, argument: int) -> bytes:
    """Encode the initial byte and its argument in the fewest bytes (RFC 8949, section 3)."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for code, form, limit in ((24, ">BB", 1 << 8), (25, ">BH", 1 << 16), (26, ">BI", 1 << 32)):
        if argument < limit:
            return struct.pack(form, major << 5 | code, argument)
    return struct.pack(">BQ", major << 5 | 27, argument)
