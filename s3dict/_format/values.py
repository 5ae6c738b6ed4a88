"""Values as bytes: the three codecs a dict can be created with.

A codec turns a value into segments and back. The first segment is the serialised value; further ones are the buffers
that pickle protocol 5 (PEP 574) passes out of band, so that a large array is copied once on its way, not twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import InvalidError

Segment = bytes | bytearray | memoryview

MAX_SEGMENTS = 1 << 16
"""Further buffers stay inside of the pickle: a byte of a header can say a segment, of which a reader makes hundreds."""

# What plain pickle writes exactly as cloudpickle would, without asking whether it holds code from `__main__`.
BUILTIN_TYPES = frozenset({type(None), bool, int, float, str, bytes})


class Codec(Protocol):
    """How a dict's values become bytes. May raise anything: the caller knows which key and dict to name."""

    @property
    def name(self) -> str: ...

    @property
    def uses_pickle(self) -> bool:
        """False when the dict never unpickles anything, keys included."""
        ...

    def dumps(self, value: Any) -> list[Segment]: ...

    def loads(self, segments: Sequence[memoryview]) -> Any: ...


class CloudpickleCodec:
    """Any value that cloudpickle takes: lambdas, classes of a notebook, arrays."""

    name = "cloudpickle"
    uses_pickle = True

    def dumps(self, value: Any) -> list[Segment]:
        import pickle

        if type(value) in BUILTIN_TYPES:
            return [pickle.dumps(value, protocol=5)]
        import cloudpickle

        buffers: list[pickle.PickleBuffer] = []

        def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
            if len(buffers) < MAX_SEGMENTS - 1:
                buffers.append(buffer)
                return False
            return True

        head: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=keep_in_band)
        return [head, *(buffer.raw() for buffer in buffers)]

    def loads(self, segments: Sequence[memoryview]) -> Any:
        import pickle

        return pickle.loads(segments[0], buffers=[_writable(segment) for segment in segments[1:]])


def _writable(segment: memoryview) -> memoryview | bytearray:
    """The buffer for a value to keep and to change.

    A copy, since an array over an answer's own bytes would be read-only, which the array that was put was not. Only a
    large answer comes in memory that may be written; there, what is most of it may keep all of it alive.
    """
    stays = not segment.readonly and 2 * segment.nbytes > memoryview(segment.obj).nbytes
    return segment if stays else bytearray(segment)


class JsonCodec:
    """Whatever JSON can say. A tuple comes back as a list, and the keys of inner dicts as strings."""

    name = "json"
    uses_pickle = False

    def dumps(self, value: Any) -> list[Segment]:
        import json

        return [json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()]

    def loads(self, segments: Sequence[memoryview]) -> Any:
        import json

        return json.loads(bytes(segments[0]))


class BytesCodec:
    """Bytes as they are. A bytearray or memoryview comes back as ``bytes``."""

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
    """The codec of that name. Raises InvalidError for one that does not exist."""
    if name not in _CODECS:
        raise InvalidError(f"Unknown codec {name!r}: choose one of {', '.join(sorted(_CODECS))}")
    return _CODECS[name]
