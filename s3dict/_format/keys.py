"""Keys as canonical bytes: keys that are equal in Python have equal bytes, in every process and every Python version.

The bytes are CBOR (RFC 8949) in its core deterministic encoding (section 4.2.1). Of several equal representations one
is canonical, so what ``keys()`` returns equals what was put, but may be of another type: ``True`` and ``1.0`` are read
as ``1``, a ``StrEnum`` member as its ``str``, a namedtuple as a ``tuple``, ``Decimal("0.5")`` as ``0.5``, an aware
datetime in UTC.

A key of any other type is pickled, and equal objects of such a type may well pickle differently. Of the classes of
``__main__``, enums and frozen dataclasses have a canonical form (`main_keys`); others are rejected.
"""

from __future__ import annotations

import re
import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any, cast

import cbor2

from .._record import Record
from ..errors import DeserializationError, IntegrityError, InvalidError, RequestSizeError, SerializationError
from .c_modules import blake2b
from .cbor import SET, array, loads, tagged

MAX_KEY_BYTES = 1 << 20
SHORT_KEY = MAX_KEY_BYTES // 8
"""A `str` of so many characters has fewer bytes than a key may have, in any alphabet."""
MAX_SEGMENT_BYTES = 250
MAX_DEPTH = 100
HASH_BYTES = 16
MAX_HASH_COLLISIONS = 100
"""How many members of one set may have the same hash: the time to build the set grows with the square of that."""

# Registered tags (IANA "CBOR tags"), and six private ones from the first-come range.
_DATETIME, _UUID, _DATE = 0, 37, 1004
_PICKLE, _HANDLE, _NAIVE_DATETIME, _SURROGATES = 0x53330001, 0x53330002, 0x53330003, 0x53330004
_MAIN_ENUM, _MAIN_DATACLASS = 0x53330005, 0x53330006

_PICKLE_HEAD = b"\xda" + _PICKLE.to_bytes(4, "big")

_SEGMENT = re.compile(rf"([0-9a-f]{{32}})(?:\.([A-Za-z0-9_-]{{,{MAX_SEGMENT_BYTES - 33}}}))?")
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), str.maketrans("-_", "+/")


class EncodedKey(Record):
    """A key's canonical bytes, and whether they contain a pickle or an object of a class of ``__main__``.

    Object names are read without any check of their author, so they never contain such a key: nothing from a listing is
    unpickled. It is read from its entry's header, after the entry's checks.
    """

    data: bytes
    pickled: bool

    @property
    def digest(self) -> str:
        return digest(self.data)

    @property
    def object_name(self) -> str:
        """Return the last segment of the entry's object name: the hash, and the key itself where it fits."""
        inlined = "" if self.pickled else "." + _to_base64(self.data)
        short = self.digest
        return short + inlined if len(short) + len(inlined) <= MAX_SEGMENT_BYTES else short


def digest(key_bytes: bytes) -> str:
    """Return the hash that names the entry: 32 hex digits."""
    return blake2b(key_bytes, digest_size=HASH_BYTES).hexdigest()


def is_object_name(segment: str) -> bool:
    """Return whether an object name can be that of an entry."""
    return _SEGMENT.fullmatch(segment) is not None


def match_object_name(segment: str) -> re.Match[str]:
    """Match the hash and the inlined key in an object name.

    Raises:
        IntegrityError: The name cannot be that of an entry.
    """
    parts = _SEGMENT.fullmatch(segment)
    if parts is None:
        raise IntegrityError(f"The object {segment!r} among the entries is not an entry: delete it")
    return parts


def key_bytes_in(segment: str) -> bytes | None:
    """Return the key bytes in an object name, or None when the name is a hash alone.

    Raises:
        IntegrityError: s3dict does not write such a name.
    """
    hashed, dot, inlined = segment.partition(".")
    if not dot:
        match_object_name(segment)
        return None
    # The name that these bytes have is compared whole, so there is nothing else to match.
    data = _from_base64(inlined)
    if data is None or len(segment) > MAX_SEGMENT_BYTES or _to_base64(data) != inlined or digest(data) != hashed:
        match_object_name(segment)
        raise IntegrityError(f"In the object name {segment!r} hash and key do not match: it was not written by s3dict")
    return data


def claimed_key(segment: str) -> bytes | None:
    """Return what an object name has in place of the key bytes, unchecked; None when it is a hash alone."""
    _, dot, inlined = segment.partition(".")
    return _from_base64(inlined) if dot else None


class KeyCodec(Record):
    """Encodes keys as canonical bytes and decodes them.

    `uses_pickle` is False for dicts that must never unpickle anything; `handle` makes a Dict of an id.
    """

    uses_pickle: bool
    handle: Callable[[str], Hashable]

    def encode(self, key: object) -> EncodedKey:
        """Return the key's canonical bytes.

        Raises:
            TypeError: The key is not hashable.
            InvalidError: The key is NaN, nested too deeply, or out of a type's range.
            SerializationError: The key cannot be serialized in this dict.
            RequestSizeError: The key is too large.
        """
        if type(key) is str and len(key) <= SHORT_KEY:
            return EncodedKey(_encode_str(key), False)
        hash(key)
        encoder = _Encoder()
        try:
            data = encoder.encode(key)
        except OverflowError as error:
            raise InvalidError("The key is an instant that no UTC datetime can express") from error
        except RecursionError as error:
            raise InvalidError("The key is nested too deeply") from error
        if encoder.pickled and not self.uses_pickle:
            kind = type(encoder.pickled[0]).__name__
            raise SerializationError(f"A key of type {kind!r} would have to be pickled, which this Dict never does")
        if len(data) > MAX_KEY_BYTES:
            raise RequestSizeError(f"The key takes {len(data)} bytes; at most {MAX_KEY_BYTES} are allowed")
        return EncodedKey(data, bool(encoder.pickled))

    def decode(self, data: bytes) -> Any:
        """Return the key with these bytes.

        Raises:
            IntegrityError: s3dict does not write such bytes.
            DeserializationError: Unpickling failed.
        """
        if len(data) > MAX_KEY_BYTES:
            raise IntegrityError(
                f"A key of {len(data)} bytes was not written by s3dict: at most {MAX_KEY_BYTES} are allowed"
            )
        try:
            key = self._decode_item(loads(data))
            hash(key)
            # Equal objects may pickle differently; everything else has one representation.
            if not (self.uses_pickle and _PICKLE_HEAD in data) and self._canonical(key) != data:
                raise IntegrityError(f"The bytes are not a canonical key: {data[:80]!r}")
        except (IntegrityError, DeserializationError):
            raise
        except Exception as error:
            raise IntegrityError(f"The bytes are not a key: {data[:80]!r}") from error
        return key

    def _canonical(self, key: object) -> bytes:
        # A fast path for the most frequent type.
        return _encode_str(key) if type(key) is str else self.encode(key).data

    def _decode_item(self, item: Any) -> Any:
        if isinstance(item, (list, tuple)):
            return tuple([self._decode_item(member) for member in item])
        if not isinstance(item, cbor2.CBORTag):
            return item
        if item.tag == SET:
            members = [self._decode_item(member) for member in item.value]
            _check_collisions(members)
            return frozenset(members)
        return self._untag(item)

    def _untag(self, tag: cbor2.CBORTag) -> Any:
        if tag.tag == _PICKLE:
            return self._unpickle(tag.value)
        if tag.tag in (_MAIN_ENUM, _MAIN_DATACLASS):
            return self._decode_main(tag)
        if tag.tag == _HANDLE:
            return self.handle(tag.value)
        if tag.tag == _NAIVE_DATETIME:
            return datetime.fromisoformat(tag.value)
        if tag.tag == _SURROGATES:
            return tag.value.decode("utf-8", "surrogatepass")
        raise IntegrityError(f"A key with the CBOR tag {tag.tag} was not written by s3dict")

    def _decode_main(self, tag: cbor2.CBORTag) -> Any:
        if not self.uses_pickle:
            raise IntegrityError("The key is of a class of __main__, which this Dict never contains")
        from .main_keys import decode_dataclass, decode_member

        name, *content = self._decode_item(tag.value)
        return decode_member(name, *content) if tag.tag == _MAIN_ENUM else decode_dataclass(name, content)

    def _unpickle(self, data: bytes) -> Any:
        if not self.uses_pickle:
            raise IntegrityError("The key is a pickle, and this Dict never unpickles anything")
        import pickle

        try:
            return pickle.loads(data)
        except Exception as error:
            raise DeserializationError(f"Failed to deserialize a key: {error!r}") from error


class _Encoder:
    """Encodes one key: collects what had to be pickled, and stops at a depth that every decoder accepts."""

    __slots__ = ("depth", "pickled")

    def __init__(self) -> None:
        self.depth = 0
        self.pickled: list[object] = []

    def encode(self, key: object) -> bytes:
        kind = type(key)
        if kind is str:
            return _encode_str(cast(str, key))
        if kind is int or kind is bytes or key is None:
            return cbor2.dumps(key)
        if kind is tuple:
            return array(self._members(cast("tuple[object, ...]", key)))
        if kind is frozenset:
            members = cast("frozenset[object]", key)
            _check_collisions(members)
            return tagged(SET, array(sorted(self._members(members))))
        return _encode_scalar(key) or self._encode_subclass(key)

    def _members(self, container: Iterable[object]) -> list[bytes]:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidError(f"The key is nested more than {MAX_DEPTH} levels deep")
        members = [self.encode(item) for item in container]
        self.depth -= 1
        return members

    def _encode_subclass(self, key: object) -> bytes:
        plain = _to_builtin(key)
        if plain is not key:
            return self.encode(plain)
        self.pickled.append(key)
        from .main_objects import MAIN_MODULES, generic_model

        if generic_model(type(key)).__module__ in MAIN_MODULES:
            return self._encode_main(key)
        return _encode_pickle(key)

    def _encode_main(self, key: Any) -> bytes:
        from .main_keys import dataclass_content, member_content

        is_member = isinstance(key, Enum)
        content = member_content(key) if is_member else dataclass_content(key)
        return tagged(_MAIN_ENUM if is_member else _MAIN_DATACLASS, self.encode(content))


def _check_collisions(members: Collection[object]) -> None:
    """Reject too many equal hashes: numbers can be chosen to collide, strings and byte strings have seeded hashes."""
    from collections import Counter

    if len(members) > MAX_HASH_COLLISIONS and max(Counter(map(hash, members)).values()) > MAX_HASH_COLLISIONS:
        raise InvalidError(
            f"A set with more than {MAX_HASH_COLLISIONS} members of the same hash is not supported in a key"
        )


_PLAIN_FORMS: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (bytes, bytes),
    (tuple, tuple),
    (frozenset, frozenset),
    (datetime, lambda key: datetime.combine(key, key.timetz())),
    (date, lambda key: date(key.year, key.month, key.day)),
    (timedelta, lambda key: timedelta(key.days, key.seconds, key.microseconds)),
    (memoryview, bytes),
)


def _to_builtin(key: object) -> object:
    """Return the built-in value that a key of a derived type equals, or the key itself.

    A subclass with its own equality, or an Enum member that does not equal its value, is not its base type.
    """
    for base, plain_form in _PLAIN_FORMS:
        if isinstance(key, base):
            return _if_equal_to(plain_form(key), key)
    # A key can only be of a module's type where that module is loaded, so neither needs to be loaded here.
    uuid, numpy = sys.modules.get("uuid"), sys.modules.get("numpy")
    if uuid is not None and isinstance(key, uuid.UUID):
        return _if_equal_to(uuid.UUID(int=cast(Any, key).int), key)
    if numpy is not None and isinstance(key, numpy.generic):
        return _if_equal_to(cast(Any, key).item(), key)
    return _if_equal_to(tuple(cast(Any, key)), key) if _is_row(key) else key


def _is_row(key: object) -> bool:
    """Return whether the key may equal a tuple without being one, as a row of SQLAlchemy does."""
    try:
        # A range equals no tuple, and may be long.
        return isinstance(key, Sequence) and not isinstance(key, range)
    except TypeError:
        # A metaclass may make its classes unhashable.
        return False


def _if_equal_to(plain: object, key: object) -> object:
    return plain if type(plain) is not type(key) and plain == key and hash(plain) == hash(key) else key


def _encode_str(text: str) -> bytes:
    try:
        return cbor2.dumps(text)
    except UnicodeEncodeError:
        return tagged(_SURROGATES, cbor2.dumps(text.encode("utf-8", "surrogatepass")))


def _encode_scalar(key: object) -> bytes | None:
    if _differs_from_itself(key):
        raise InvalidError("NaN cannot be a key: it does not equal itself, so it could never be found again")
    # A handle of a Dict is stored as its id.
    if hasattr(type(key), "__s3dict_id__"):
        return tagged(_HANDLE, cbor2.dumps(cast(Any, key).__s3dict_id__()))
    kind = type(key)
    if kind is datetime:
        return _encode_datetime(cast(datetime, key))
    if kind is date:
        return tagged(_DATE, cbor2.dumps(cast(date, key).isoformat()))
    uuid = sys.modules.get("uuid")
    if uuid is not None and kind is uuid.UUID:
        return tagged(_UUID, cbor2.dumps(cast(Any, key).bytes))
    from .numeric_keys import encode_number

    return encode_number(key)


def _differs_from_itself(key: object) -> bool:
    """Return whether the key is NaN, of any type."""
    try:
        return bool(key != key)  # noqa: PLR0124
    except Exception as error:
        # pandas.NA, for example, and arrays.
        raise InvalidError(
            f"A {type(key).__name__!r} cannot be a key: comparing it does not give True or False ({error})"
        ) from error


def _encode_datetime(moment: datetime) -> bytes:
    if moment.utcoffset() is None:
        return tagged(_NAIVE_DATETIME, cbor2.dumps(moment.replace(tzinfo=None).isoformat()))
    # `fold` distinguishes two readings of one wall clock, but not in comparisons within one zone, nor in hashes.
    return tagged(_DATETIME, cbor2.dumps(moment.replace(fold=0).astimezone(UTC).isoformat()))


def _encode_pickle(key: object) -> bytes:
    from .key_pickling import dump_key

    try:
        data = dump_key(key)
    except InvalidError:
        raise
    except Exception as error:
        raise SerializationError(f"A key of type {type(key).__name__!r} cannot be pickled: {error}") from error
    return tagged(_PICKLE, cbor2.dumps(data))


def _to_base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def _from_base64(text: str) -> bytes | None:
    try:
        return a2b_base64(text.translate(_FROM_URL) + "=" * (-len(text) % 4))
    except ValueError:
        return None
