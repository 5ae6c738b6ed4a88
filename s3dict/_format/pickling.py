"""The picklers of values and keys. Imported by writers alone, since it loads cloudpickle."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import ChainMap
from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any, ClassVar, NewType, ParamSpec, TypeVarTuple

import cloudpickle

from .._pickle import restore
from ..errors import InvalidError
from .main_objects import MAIN_MODULES, find_in, fingerprint, is_main_object


def _reduce_cached_property(prop: cached_property[Any]) -> tuple[Any, ...]:
    return cached_property, (prop.func,), {"attrname": prop.attrname}


def _reduce_typing(found: Any) -> Any:
    """Return the object by value if a script has made it: pickle refers to it by name, which other programs lack."""
    if found.__module__ not in MAIN_MODULES:
        return found.__reduce__()
    arguments = (found.__supertype__,) if isinstance(found, NewType) else ()
    return restore, ("MainTyping", type(found).__name__, found.__name__, *arguments)


_CLOUDPICKLE_REDUCERS: Any = cloudpickle.CloudPickler.dispatch_table
_REDUCERS: ChainMap[Any, Any] = _CLOUDPICKLE_REDUCERS.new_child(
    dict.fromkeys((NewType, ParamSpec, TypeVarTuple), _reduce_typing)
)


class ValuePickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle, which refers to classes and functions of ``__main__`` by name, fingerprint and definition."""

    dispatch_table: ClassVar[Any] = _REDUCERS

    def reducer_override(self, obj: Any) -> Any:
        if is_main_object(obj):
            return restore, ("MainObject", obj.__qualname__, fingerprint(obj), _definition(obj))
        return super().reducer_override(obj)


def dump_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    """Return the pickle of a value; its buffers go to the callback."""
    with io.BytesIO() as file:
        ValuePickler(file, protocol=5, buffer_callback=buffer_callback).dump(value)
        return file.getvalue()


def _definition(obj: Any) -> bytes:
    """Return the class or function by value; nothing where it uses what cannot be pickled."""
    with io.BytesIO() as file:
        try:
            _DefinitionPickler(file, protocol=5).dump(obj)
        except Exception:
            return b""
        return file.getvalue()


class _DefinitionPickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle, also for a cached_property, which has a lock before Python 3.12."""

    dispatch_table: ClassVar[Any] = _REDUCERS.new_child({cached_property: _reduce_cached_property})


class _KeyPickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle for keys, which refuses what it would pickle by value: such bytes differ between processes."""

    def reducer_override(self, obj: Any) -> Any:
        if (isinstance(obj, type) or type(obj) is FunctionType) and not _is_importable(obj):
            raise InvalidError(
                f"The key refers to {obj.__qualname__!r}, which is not in an importable module, so that its bytes "
                "would differ between processes: move it into a module"
            )
        return super().reducer_override(obj)


def _is_importable(obj: Any) -> bool:
    if obj.__module__ in MAIN_MODULES:
        return False
    return obj.__module__ == "builtins" or find_in(obj.__module__, obj.__qualname__) is obj


def dump_key(key: object) -> bytes:
    """Return the pickle of a key.

    Raises:
        InvalidError: The bytes would differ between processes.
    """
    with io.BytesIO() as file:
        _KeyPickler(file, protocol=5).dump(key)
        data = file.getvalue()
    if any(code.name in ("EMPTY_SET", "FROZENSET") for code, _, _ in pickletools.genops(data)):
        raise InvalidError("The key contains a set inside of an object: its order, and so its pickle, is not stable")
    return data
