"""Values as bytes: the three codecs a dict can be created with.

A codec turns a value into segments and back. The first segment is the serialised value; further ones are the buffers
that pickle protocol 5 (PEP 574) passes out of band, so that a large array is copied once instead of twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import InvalidError
from .c_modules import PickleBuffer, dumps, loads

Segment = bytes | bytearray | memoryview

MAX_SEGMENTS = 1 << 16
"""Further buffers stay in the pickle: a header of few bytes could claim many segments, each an object of the reader."""

# pickle writes these exactly as cloudpickle does, which is slower: it searches a value for code from `__main__`.
BUILTIN_TYPES = frozenset({type(None), bool, int, float, str, bytes})


class Codec(Protocol):
    """Encodes and decodes a dict's values. May raise anything: the caller knows which key and dict to name."""

    @property
    def name(self) -> str: ...

    @property
    def uses_pickle(self) -> bool:
        """False when the dict never unpickles anything, keys included."""
        ...

    def dumps(self, value: Any) -> list[Segment]: ...

    def loads(self, segments: Sequence[memoryview]) -> Any: ...


def _is_builtin(value: object) -> bool:
    try:
        return type(value) in BUILTIN_TYPES
    except TypeError:
        # A metaclass may make its classes unhashable.
        return False


class CloudpickleCodec:
    """Any value that cloudpickle accepts: lambdas, classes of a notebook, arrays."""

    name = "cloudpickle"
    uses_pickle = True

    def dumps(self, value: Any) -> list[Segment]:
        if _is_builtin(value):
            return [dumps(value, protocol=5)]
        from .pickling import dump_value

        buffers: list[PickleBuffer] = []

        def keep_in_band(buffer: PickleBuffer) -> bool:
            if len(buffers) < MAX_SEGMENTS - 1:
                buffers.append(buffer)
                return False
            return True

        return [dump_value(value, keep_in_band), *(buffer.raw() for buffer in buffers)]

    def loads(self, segments: Sequence[memoryview]) -> Any:
        if len(segments) == 1:
            return loads(segments[0])
        return loads(segments[0], buffers=[_writable(segment) for segment in segments[1:]])


def _writable(segment: memoryview) -> memoryview | bytearray:
    """Return a buffer that a value can keep and change.

    As a rule a copy: an array on top of the response's bytes would be read-only, unlike the array that was put. The
    body of a large response is writable memory, and a buffer that is most of it may keep all of it alive.
    """
    keeps_response = not segment.readonly and 2 * segment.nbytes > memoryview(segment.obj).nbytes
    return segment if keeps_response else bytearray(segment)


class JsonCodec:
    """Values that JSON can represent. A tuple is read as a list, and the keys of inner dicts as strings."""

    name = "json"
    uses_pickle = False

    def dumps(self, value: Any) -> list[Segment]:
        import json

        return [json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()]

    def loads(self, segments: Sequence[memoryview]) -> Any:
        import json

        return json.loads(bytes(segments[0]))


class BytesCodec:
    """Bytes, unchanged. A bytearray or memoryview is read as ``bytes``."""

    name = "bytes"
    uses_pickle = False

    def dumps(self, value: Any) -> list[Segment]:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"this Dict holds bytes, not {type(value).__name__}")
        return [bytes(value)]

    def loads(self, segments: Sequence[memoryview]) -> Any:
        return bytes(segments[0])


_CODECS: dict[str, Codec] = {codec.name: codec for codec in (CloudpickleCodec(), JsonCodec(), BytesCodec())}


def get_codec(name: str) -> Codec:
    """Return the codec of that name. Raises InvalidError for an unknown one."""
    if not isinstance(name, str) or name not in _CODECS:
        raise InvalidError(f"Unknown codec {name!r}: choose one of {', '.join(sorted(_CODECS))}")
    return _CODECS[name]
