"""The body of an entry, and of the tombstone that stands for a removed one.

::

    magic (4)  version (1)  revision (1)  write id (16)  header length (4)                           the prelude
    expiry kind (1)  expiry in seconds (8)                                         (version 2 only)
    CRC-32 of these (4)
    CBOR [header, signature]                                      the header, itself CBOR, as a byte string
    payload                                                       the value's segments, all but the first aligned

The write id is random and identifies one write. It is at a fixed position, so that the first bytes of an entry show
which write it is the result of. The revision (modulo 256) changes when an entry is renewed under a new ETag: it is no
content, so the signature does not cover it. A tombstone is a prelude alone, with a header length of zero, which makes
it smaller than every entry: a listing is enough to recognise it.

Only an entry with an expiry of its own has version 2. Every other entry and every tombstone has version 1, as in
s3dict 0.1, which cannot read version 2.

The segments after the first are buffers of arrays. They begin at multiples of 16 bytes, after padding with zeros, so
that a large array need not be copied out of the body: NumPy wants its items aligned.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from operator import add

import cbor2

from .._record import Record, field, replace
from ..errors import IntegrityError, plural
from .c_modules import blake2b
from .cbor import loads_untagged
from .values import MAX_SEGMENTS, Segment

Data = bytes | bytearray

MAGIC = b"\x93S3D"
VERSION = 1
VERSION_WITH_EXPIRY = 2
WRITE_ID_BYTES = 16
_PRELUDE = struct.Struct(f">4sBB{WRITE_ID_BYTES}sI")
_EXPIRY = struct.Struct(">BQ")
_CHECKSUM = struct.Struct(">I")
PRELUDE_BYTES = _PRELUDE.size + _CHECKSUM.size
"""Of version 1."""
TOMBSTONE_BYTES = PRELUDE_BYTES
MAX_PRELUDE_BYTES = _PRELUDE.size + _EXPIRY.size + _CHECKSUM.size
"""How many bytes contain the prelude of any entry."""
MAX_TTL_SECONDS = (1 << 32) - 1
"""136 years."""
MAX_DEADLINE = int(datetime.max.replace(tzinfo=UTC).timestamp()) - 2 * 86_400
"""So that a datetime in any time zone can express it, and a second after it."""
MAX_COMPUTE_MS = (1 << 53) - 1
ALIGNMENT = 16
MAX_HEADER_BYTES = 2 << 20
"""More than a header takes: a key of at most 1 MiB, and up to 9 bytes for each segment."""
MAX_COMPARED_BYTES = 1 << 16
"""In a larger entry, decoding the header is a small part, and the checksum of the payload a large one."""
_SIGNATURE_BYTES = 32


class ExpiryKind(IntEnum):
    TTL = 1
    """Seconds after the object's Last-Modified."""
    DEADLINE = 2
    """Seconds of Unix time, by the store's clock."""


class EntryExpiry(Record):
    """The expiry of one entry, which reads do not extend.

    A blind write stores a ttl, since it does not know the store's time. A write that replaces an entry it has read, and
    keeps its expiry, stores a deadline: a ttl would begin again each time.

    ``compute_ms`` is how many milliseconds the value took to compute, for those who compute it again before it expires;
    0 where that is not known. It is in the header.
    """

    kind: ExpiryKind
    seconds: int
    compute_ms: int = 0

    def deadline(self, last_modified: datetime) -> datetime:
        """Return when an entry with that Last-Modified expires."""
        if self.kind is ExpiryKind.TTL:
            return last_modified + timedelta(seconds=self.seconds)
        return datetime.fromtimestamp(self.seconds, last_modified.tzinfo)

    def fixed(self, last_modified: datetime) -> EntryExpiry:
        """Return the same expiry as a deadline."""
        if self.kind is ExpiryKind.DEADLINE:
            return self
        return replace(self, kind=ExpiryKind.DEADLINE, seconds=int(last_modified.timestamp()) + self.seconds)

    def encode(self) -> bytes:
        return _EXPIRY.pack(self.kind, self.seconds)


class Prelude(Record):
    """The first bytes of an entry or tombstone."""

    revision: int
    write_id: bytes
    header_length: int
    expiry: EntryExpiry | None = None

    def encode(self) -> bytes:
        version = VERSION if self.expiry is None else VERSION_WITH_EXPIRY
        fields = _PRELUDE.pack(MAGIC, version, self.revision, self.write_id, self.header_length)
        fields += b"" if self.expiry is None else self.expiry.encode()
        return fields + _CHECKSUM.pack(zlib.crc32(fields))

    @property
    def size(self) -> int:
        return PRELUDE_BYTES if self.expiry is None else MAX_PRELUDE_BYTES

    @property
    def is_tombstone(self) -> bool:
        return self.header_length == 0


class Header(Record):
    """The metadata of an entry, stored before its payload."""

    key: bytes
    codec: str
    segments: tuple[int, ...]
    crc32: int
    digest: bytes
    compute_ms: int = 0
    """Stored only where it is known, so that every other entry has the bytes that it always had."""

    def encode(self) -> bytes:
        fields: dict[str, object] = {
            "key": self.key,
            "codec": self.codec,
            "segments": self.segments,
            "crc32": self.crc32,
            "digest": self.digest,
        }
        if self.compute_ms:
            fields["compute_ms"] = self.compute_ms
        return cbor2.dumps(fields)


class EntryBody(Record):
    """An entry that passed every check."""

    write_id: bytes
    header: Header
    segments: tuple[memoryview, ...]
    expiry: EntryExpiry | None = None


class EntrySigner(Record):
    """Signs and verifies the entries of one dict.

    The first key signs and each of them verifies; without keys nothing is signed and signatures are ignored.
    """

    dict_id: str
    keys: tuple[bytes, ...] = field(default=(), repr=False)

    def digest(self, segments: Sequence[Segment]) -> bytes:
        """Return the digest of the payload, which the signature covers as part of the header; empty without keys."""
        if not self.keys:
            return b""
        hashed = blake2b(digest_size=_SIGNATURE_BYTES)
        for segment in segments:
            hashed.update(segment)
        return hashed.digest()

    def sign(self, write_id: bytes, header: bytes, expiry: EntryExpiry | None = None) -> bytes:
        return self._signature(self.keys[0], write_id, header, expiry) if self.keys else b""

    def verify(self, prelude: Prelude, header: bytes, signature: bytes) -> None:
        """Raise IntegrityError unless one of the keys signed exactly this header and expiry in exactly this dict."""
        if not self.keys:
            return
        from hmac import compare_digest

        # Without an early exit: the time taken must not reveal which key matched.
        matches = [
            compare_digest(self._signature(key, prelude.write_id, header, prelude.expiry), signature)
            for key in self.keys
        ]
        if not any(matches):
            raise IntegrityError(
                "The entry is unsigned, signed with none of the signing keys, or was altered or moved after signing"
            )

    def verify_payload(self, segments: Sequence[Segment], header: Header) -> None:
        """Raise IntegrityError unless these segments have the digest in the verified header."""
        from hmac import compare_digest

        if not compare_digest(self.digest(segments), header.digest):
            raise IntegrityError("The entry's payload is not the one that was signed")

    def _signature(self, key: bytes, write_id: bytes, header: bytes, expiry: EntryExpiry | None) -> bytes:
        secret = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
        # Each version has a domain of its own: no signature is valid for the other.
        person = b"s3dict entry 1" if expiry is None else b"s3dict entry 2"
        signed = blake2b(key=secret, digest_size=_SIGNATURE_BYTES, person=person)
        signed.update(struct.pack(">I", len(self.dict_id)) + self.dict_id.encode())
        signed.update((b"" if expiry is None else expiry.encode()) + write_id + header)
        return signed.digest()


def pack(
    write_id: bytes,
    key: bytes,
    codec: str,
    segments: Sequence[Segment],
    signer: EntrySigner,
    expiry: EntryExpiry | None = None,
) -> bytes:
    """Return the body of an entry."""
    lengths = tuple([memoryview(segment).nbytes for segment in segments])
    compute_ms = 0 if expiry is None else expiry.compute_ms
    header = Header(key, codec, lengths, _crc32(segments), signer.digest(segments), compute_ms).encode()
    header_block = _header_block(header, signer.sign(write_id, header, expiry))
    prelude = Prelude(0, write_id, len(header_block), expiry)
    parts: list[Segment] = [prelude.encode(), header_block]
    end = prelude.size + len(header_block)
    for start, length, segment in zip(_segment_offsets(end, lengths), lengths, segments, strict=True):
        parts += bytes(start - end), segment
        end = start + length
    return b"".join(parts)


def _header_block(header: bytes, signature: bytes) -> bytes:
    return cbor2.dumps([header, signature])


def pack_tombstone(write_id: bytes) -> bytes:
    return Prelude(0, write_id, 0).encode()


def with_new_etag(body: Data) -> bytes:
    """Return the same entry in other bytes, which have another ETag."""
    prelude = read_prelude(body)
    renewed = replace(prelude, revision=(prelude.revision + 1) % 256)
    return b"".join([renewed.encode(), memoryview(body)[prelude.size :]])


def read_prelude(data: Data) -> Prelude:
    """Return the prelude in an object's first bytes.

    Raises:
        IntegrityError: The bytes are not the beginning of an entry.
    """
    if len(data) < PRELUDE_BYTES:
        raise IntegrityError(f"The object is not an entry: it has only {plural(len(data), 'byte')}")
    magic, version, revision, write_id, header_length = _PRELUDE.unpack_from(data)
    if magic != MAGIC:
        raise IntegrityError(f"The object was not written by s3dict: it begins with {bytes(data[:8])!r}")
    if version not in (VERSION, VERSION_WITH_EXPIRY):
        raise IntegrityError(
            f"The entry has format {version}, and this s3dict knows {VERSION_WITH_EXPIRY}: upgrade s3-shared-dict"
        )
    expiry_bytes = _EXPIRY.size if version == VERSION_WITH_EXPIRY else 0
    _verify_checksum(data, _PRELUDE.size + expiry_bytes)
    if header_length > MAX_HEADER_BYTES:
        raise IntegrityError(f"The entry claims a header of {header_length} bytes: it was not written by s3dict")
    return Prelude(revision, write_id, header_length, _read_expiry(data, header_length) if expiry_bytes else None)


def _verify_checksum(data: Data, covered: int) -> None:
    if len(data) < covered + _CHECKSUM.size:
        raise IntegrityError("The entry is truncated: its first bytes lack their checksum")
    if _CHECKSUM.unpack_from(data, covered) != (zlib.crc32(memoryview(data)[:covered]),):
        raise IntegrityError("The entry's first bytes do not match their checksum: they were altered")


def _read_expiry(data: Data, header_length: int) -> EntryExpiry:
    kind, seconds = _EXPIRY.unpack_from(data, _PRELUDE.size)
    limits = {ExpiryKind.TTL: MAX_TTL_SECONDS, ExpiryKind.DEADLINE: MAX_DEADLINE}
    # A tombstone has no expiry: it would not be recognised by its size.
    if not 0 < seconds <= limits.get(kind, 0) or not header_length:
        raise IntegrityError("The entry has an invalid expiry: it was not written by s3dict")
    return EntryExpiry(ExpiryKind(kind), seconds)


def unpack(data: Data, signer: EntrySigner, expected: tuple[bytes, str] | None = None) -> EntryBody | None:
    """Return the checked entry, or None for a tombstone.

    Args:
        data: The body of the object.
        signer: Verifies the signature.
        expected: The key and the codec that the entry probably has: then it takes less time. Any other is returned too.

    Raises:
        IntegrityError: The bytes are not what `pack` wrote.
    """
    prelude = read_prelude(data)
    if prelude.is_tombstone:
        if len(data) != TOMBSTONE_BYTES:
            raise IntegrityError("The entry's header length is zero, but it is not a tombstone: its bytes were altered")
        return None
    if expected is not None and not signer.keys and len(data) <= MAX_COMPARED_BYTES:
        entry = _unpack_expected(data, prelude, *expected)
        if entry is not None:
            return entry
    header = read_header(data, prelude, signer)
    segments = _slice(memoryview(data), prelude.size + prelude.header_length, header.segments)
    if _crc32(segments) != header.crc32:
        raise IntegrityError("The entry's checksum does not match: its bytes were altered")
    if signer.keys:
        signer.verify_payload(segments, header)
    expiry = prelude.expiry
    if expiry is not None and header.compute_ms:
        expiry = replace(expiry, compute_ms=header.compute_ms)
    return EntryBody(prelude.write_id, header, segments, expiry)


def _unpack_expected(data: Data, prelude: Prelude, key: bytes, codec: str) -> EntryBody | None:
    """Return the entry if its header has the very bytes that `pack` writes for this key, codec and payload.

    Encoding and comparing them takes half as long as decoding. None for any other entry, valid or not.
    """
    begin = prelude.size + prelude.header_length
    payload = memoryview(data)[begin:]
    header = Header(key, codec, (len(payload),), zlib.crc32(payload), b"")
    if data[prelude.size : begin] != _header_block(header.encode(), b""):
        return None
    return EntryBody(prelude.write_id, header, (payload,), prelude.expiry)


def expected_size(data: Data, signer: EntrySigner) -> int:
    """Return the size of the entry that begins with these bytes.

    Raises:
        IntegrityError: The bytes are not the beginning of an entry.
    """
    prelude = read_prelude(data)
    if prelude.is_tombstone:
        return TOMBSTONE_BYTES
    lengths = read_header(data, prelude, signer).segments
    return _segment_offsets(prelude.size + prelude.header_length, lengths)[-1] + lengths[-1]


def read_header(data: Data, prelude: Prelude, signer: EntrySigner) -> Header:
    """Return the verified header at the beginning of an entry, of which the payload may be missing."""
    begin = prelude.size
    header_block = bytes(data[begin : begin + prelude.header_length])
    if len(header_block) < prelude.header_length:
        raise IntegrityError(
            f"The entry is truncated: its header lacks {plural(prelude.header_length - len(header_block), 'byte')}"
        )
    try:
        encoded, signature = loads_untagged(header_block, depth=1)
        if type(encoded) is not bytes or type(signature) is not bytes:
            raise IntegrityError("The entry's header is not a pair of byte strings")
        signer.verify(prelude, encoded, signature)
        return _checked_header(loads_untagged(encoded, depth=2))
    except IntegrityError:
        raise
    except Exception as error:
        raise IntegrityError(f"The entry's header cannot be read: {error}") from error


def _checked_header(fields: dict[str, object]) -> Header:
    key, codec, lengths = fields["key"], fields["codec"], fields["segments"]
    crc32, digest, compute_ms = fields["crc32"], fields["digest"], fields.get("compute_ms", 0)
    if not (isinstance(key, bytes) and isinstance(codec, str) and isinstance(crc32, int) and isinstance(digest, bytes)):
        raise IntegrityError("The entry's header has fields of the wrong type")
    if not (isinstance(lengths, list) and 0 < len(lengths) <= MAX_SEGMENTS and all(map(_is_length, lengths))):
        raise IntegrityError("The entry's header has no valid segment lengths")
    if type(compute_ms) is not int or not 0 <= compute_ms <= MAX_COMPUTE_MS:
        raise IntegrityError("The entry's header has an invalid compute_ms")
    return Header(key, codec, tuple(lengths), crc32, digest, compute_ms)


def _is_length(number: object) -> bool:
    return type(number) is int and number >= 0


def _segment_offsets(begin: int, lengths: Sequence[int]) -> list[int]:
    """Return the offsets of the segments, the first of which begins at `begin`."""
    starts: list[int] = []
    end = begin
    for length in lengths:
        start = end + -end % ALIGNMENT if starts else end
        starts.append(start)
        end = start + length
    return starts


def _slice(data: memoryview, begin: int, lengths: tuple[int, ...]) -> tuple[memoryview, ...]:
    starts = _segment_offsets(begin, lengths)
    ends = list(map(add, starts, lengths))
    if ends[-1] != len(data):
        raise IntegrityError(f"The entry should have {ends[-1]} bytes and has {len(data)}")
    if len(starts) == 1:
        return (data[begin:],)
    if any(any(data[end:start]) for end, start in zip(ends, starts[1:], strict=False)):
        raise IntegrityError("The entry's padding is not zero: its bytes were altered")
    return tuple(data[start:end] for start, end in zip(starts, ends, strict=True))


def _crc32(segments: Sequence[Segment]) -> int:
    checksum = 0
    for segment in segments:
        checksum = zlib.crc32(segment, checksum)
    return checksum
