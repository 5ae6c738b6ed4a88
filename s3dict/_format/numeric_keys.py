"""Keys that are numbers. Loaded with the first of them: a `str` key needs neither decimals nor fractions."""

from __future__ import annotations

import math
import numbers
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, cast

import cbor2

from ..errors import InvalidError
from .cbor import MAX_DECIMAL_PLACES, MAX_MANTISSA_BITS, MAX_RATIONAL_BITS, array, tagged

# Registered tags (IANA "CBOR tags").
_DECIMAL, _RATIONAL, _COMPLEX = 4, 30, 43000
_INFINITIES = (math.inf, -math.inf)
_EXACT = Context(prec=3 * MAX_DECIMAL_PLACES, traps=[])


def encode_number(key: object) -> bytes | None:
    """Encode a number in its canonical form: an int if it is whole, else the narrowest of float, decimal, fraction.

    Returns None for what is not a number, and for a number without such a form.
    """
    try:
        is_number = isinstance(key, numbers.Number)
    except TypeError:
        # A metaclass may make its classes unhashable.
        return None
    return _encode_number(key) if is_number else None


def _encode_number(key: Any) -> bytes | None:
    if isinstance(key, complex) and key.imag:
        return tagged(_COMPLEX, array([_encode_float(key.real), _encode_float(key.imag)]))
    real = key.real if isinstance(key, complex) else key
    if real in _INFINITIES:
        return _encode_float(float(real))
    return _encode_real(real, key)


def _encode_real(real: Any, key: Any) -> bytes | None:
    if type(real) is Decimal and (written := _encode_by_digits(real)):
        return written
    exact = _as_fraction(real)
    if exact is None or hash(exact) != hash(key):
        return None
    if exact.denominator == 1:
        return cbor2.dumps(exact.numerator)
    if max(exact.numerator.bit_length(), exact.denominator.bit_length()) > MAX_RATIONAL_BITS:
        raise InvalidError(f"A fraction of numbers over {MAX_RATIONAL_BITS} bits is not supported as a key")
    if _fits_float(exact):
        return _encode_float(float(exact))
    return _encode_decimal(exact) or _encode_fraction(exact)


def _encode_by_digits(number: Decimal) -> bytes | None:
    """Encode a decimal without a fraction in between, which for 1E-9999 would be a thousand times as large.

    Returns None for what is written as a float or a fraction.
    """
    _check_places(number)
    normalised = _EXACT.normalize(number)
    places = -_exponent(normalised)
    if places <= 0:
        return cbor2.dumps(int(normalised))
    mantissa = int(normalised.scaleb(places, _EXACT))
    if mantissa.bit_length() > MAX_MANTISSA_BITS or Decimal(float(normalised)) == normalised:
        return None
    return tagged(_DECIMAL, array([cbor2.dumps(-places), cbor2.dumps(mantissa)]))


def _check_places(number: Decimal) -> None:
    if max(abs(number.adjusted()), -_exponent(number)) > MAX_DECIMAL_PLACES:
        raise InvalidError(f"A Decimal key of more than {MAX_DECIMAL_PLACES} places is not supported")


def _exponent(number: Decimal) -> int:
    return cast(int, number.as_tuple().exponent)


def _as_fraction(real: Any) -> Fraction | None:
    if isinstance(real, Decimal):
        _check_places(real)
        return Fraction(real)
    if isinstance(real, numbers.Rational):
        return _fraction(real)
    # Of other types, NumPy's long double among them, only what a float can represent as well.
    return Fraction(float(real)) if isinstance(real, numbers.Real) and float(real) == real else None


def _fraction(real: numbers.Rational) -> Fraction | None:
    try:
        return Fraction(int(real.numerator), int(real.denominator))
    except TypeError:
        # NumPy registers timedelta64 as an integer, although it has a unit.
        return None


def _fits_float(exact: Fraction) -> bool:
    try:
        return Fraction(float(exact)) == exact
    except OverflowError:
        return False


def _encode_decimal(exact: Fraction) -> bytes | None:
    """Encode RFC 8949 section 3.4.4, a mantissa times a power of ten; None for a fraction without finite decimals."""
    places = _decimal_places(exact.denominator)
    if places is None:
        return None
    mantissa = exact.numerator * 10**places // exact.denominator
    if mantissa.bit_length() > MAX_MANTISSA_BITS:
        # Such a Decimal is rejected as a key, so it is read as a Fraction.
        return None
    return tagged(_DECIMAL, array([cbor2.dumps(-places), cbor2.dumps(mantissa)]))


def _decimal_places(denominator: int) -> int | None:
    """Return how many decimals a fraction in lowest terms has; None if they are infinite or too many for a key."""
    twos = (denominator & -denominator).bit_length() - 1
    rest = denominator >> twos
    # At most one power of five has so many bits: dividing by five repeatedly would take seconds.
    fives = math.ceil((rest.bit_length() - 1) / math.log2(5))
    places = max(twos, fives)
    return places if places <= MAX_DECIMAL_PLACES and rest == 5**fives else None


def _encode_fraction(exact: Fraction) -> bytes:
    return tagged(_RATIONAL, array([cbor2.dumps(exact.numerator), cbor2.dumps(exact.denominator)]))


def _encode_float(number: float) -> bytes:
    return cbor2.dumps(number + 0.0, canonical=True)
