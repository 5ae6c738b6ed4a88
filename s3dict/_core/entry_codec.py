"""The codec of one dict's entries: a key and a value to the body of an object and back, with every check."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .._format.entry import WRITE_ID_BYTES, EntryBody, EntryExpiry, EntrySigner, Header, expected_size, pack, unpack
from .._format.keys import EncodedKey, KeyCodec, digest
from .._format.values import Codec, Segment
from .._record import Record, replace
from .._stores.base import StoredObject
from ..errors import DeserializationError, Error, IntegrityError, RequestSizeError, SerializationError, dict_label

MAX_KEY_REPR = 200


class EntryCodec(Record):
    """Encodes and decodes the entries of one dict."""

    keys: KeyCodec
    values: Codec
    signer: EntrySigner
    dict_name: str
    max_value_bytes: int

    @property
    def label(self) -> str:
        """How messages refer to the dict."""
        return dict_label(self.dict_name)

    def serialize(self, key: Any, value: Any) -> list[Segment]:
        """Return the value's segments.

        Raises:
            SerializationError: The value cannot be serialized; the message names the key.
            RequestSizeError: The value exceeds `max_value_bytes`.
        """
        try:
            segments = self.values.dumps(value)
        except Exception as error:
            raise SerializationError(
                f"Failed to serialize the value for key {key_repr(key)} of {self.label}: {error}"
            ) from error
        size = sum([memoryview(segment).nbytes for segment in segments])
        if size > self.max_value_bytes:
            raise RequestSizeError(
                f"The value for key {key_repr(key)} of {self.label} takes {size} bytes; "
                f"max_value_bytes is {self.max_value_bytes}: pass a greater one to the client, or split the value"
            )
        return segments

    def pack(
        self, key: EncodedKey, segments: Sequence[Segment], expiry: EntryExpiry | None = None
    ) -> tuple[bytes, bytes]:
        """Return the body of a new write of the entry, and its write id."""
        write_id = os.urandom(WRITE_ID_BYTES)
        return pack(write_id, key.data, self.values.name, segments, self.signer, expiry), write_id

    def decode(self, body: bytes | bytearray, expected_key: bytes | None = None) -> EntryBody | None:
        """Return the checked entry in an object's body, or None for a tombstone.

        Args:
            body: The body of the object.
            expected_key: The key that the entry probably has, which is not verified here.

        Raises:
            IntegrityError: The body is not that of an entry of this dict.
        """
        entry = unpack(body, self.signer, None if expected_key is None else (expected_key, self.values.name))
        if entry is None:
            return None
        if entry.header.codec != self.values.name:
            raise IntegrityError(
                f"The entry was written with codec {entry.header.codec!r}, the Dict has {self.values.name!r}"
            )
        if len(entry.segments) > 1 and not self.values.uses_pickle:
            raise IntegrityError(
                f"The entry has {len(entry.segments)} segments, and codec {self.values.name!r} writes one"
            )
        return entry

    def verify_key(self, header: Header, key: EncodedKey) -> None:
        """Raise IntegrityError unless the entry with this header is that of the key."""
        if header.key != key.data:
            raise IntegrityError("The entry belongs to another key: it was copied or moved here")

    def deserialize(self, entry: EntryBody, *key: Any) -> Any:
        """Return the entry's value; the key, where the caller knows it, is for the error.

        Raises:
            DeserializationError: The value cannot be read here, because a module is missing, for example.
        """
        try:
            return self.values.loads(entry.segments)
        except Exception as error:
            text = key_repr(*key) if key else self._key_repr(entry.header.key)
            failure = DeserializationError(f"Failed to deserialize value for key {text} from {self.label}: {error}")
            failure.dict_name, failure.key_repr = self.dict_name, text
            raise failure from error

    def _key_repr(self, data: bytes) -> str:
        try:
            return key_repr(self.keys.decode(data))
        except Error:
            # Its class may be missing here as well.
            return f"with the hash {digest(data)}"

    def verify_name(self, header: Header, object_name: str) -> None:
        """Raise IntegrityError unless that is the object name of the key in this header.

        The hash alone is not enough: a copy of an entry under its hash without the key would be read beside the entry.
        """
        if object_name == EncodedKey(header.key, False).object_name:
            return
        if object_name != digest(header.key) or not self._has_pickle(header.key):
            raise IntegrityError(
                f"The entry in the object {object_name!r} belongs to another key: it was copied or moved there"
            )

    def _has_pickle(self, data: bytes) -> bool:
        """Return whether the key cannot be decoded without unpickling, so that its object name does not contain it."""
        try:
            replace(self.keys, uses_pickle=False).decode(data)
        except IntegrityError:
            return True
        return False

    def verify_size(self, first: StoredObject) -> None:
        """Raise IntegrityError unless an object that begins so has the size that its header states.

        It is checked before the rest of a large object is read.
        """
        expected = expected_size(first.body, self.signer)
        if expected != first.size:
            raise IntegrityError(f"The entry should have {expected} bytes and has {first.size}")


def key_repr(key: Any) -> str:
    """Return the key as messages show it."""
    try:
        text = repr(key)
    except Exception:
        # An int of thousands of digits has no repr, and a class may have a broken one.
        text = f"a {type(key).__name__}"
    return text if len(text) <= MAX_KEY_REPR else text[:MAX_KEY_REPR] + "…"
