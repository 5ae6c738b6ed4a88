"""The pickler of keys: equal keys have equal bytes wherever that can be seen, so that a key is found again.

A pickler notes which objects it has written by their identity, so the same two strings have one pickle where both are
one object, and another where they are two. Sets have no order, and an object may keep what it has computed.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from enum import Enum
from functools import cached_property
from types import BuiltinFunctionType, FunctionType
from typing import Any, ClassVar, cast

import cloudpickle

from ..errors import InvalidError
from .main_objects import MAIN_MODULES, PATH_MODULES, find_in
from .pickling import CLOUDPICKLE_REDUCERS, reduce_model

# Those are one object where they are equal. Everything else is written as often as it occurs.
_SHARED = (str, bytes, type, FunctionType, BuiltinFunctionType, Enum, tzinfo)


class _Name(str):
    """The name of a class or function, which shares nothing with equal text."""

    __slots__ = ()


def dump_key(key: object) -> bytes:
    """Return the pickle of a key.

    Raises:
        InvalidError: The bytes would differ between processes.
    """
    return _dump(key, in_set=False)


def _dump(key: object, *, in_set: bool) -> bytes:
    with io.BytesIO() as file:
        _KeyPickler(file, in_set=in_set).dump(key)
        return file.getvalue()


# The one that is written in Python: of the other, what is shared cannot be chosen.
_Pickler: Any = vars(pickle)["_Pickler"]
_reduce_builtin: Any = cloudpickle.CloudPickler.reducer_override


class _KeyPickler(_Pickler):  # type: ignore[misc]
    """pickle with cloudpickle's reducers; it refuses what these write by value, which differs between processes."""

    dispatch_table: ClassVar[Any] = CLOUDPICKLE_REDUCERS
    dispatch: ClassVar[dict[type, Callable[..., None]]] = dict(_Pickler.dispatch)

    def __init__(self, file: io.BytesIO, *, in_set: bool) -> None:
        super().__init__(file, protocol=5)
        self._in_set = in_set
        self._texts: dict[tuple[type, object], object] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        kind = type(obj)
        if kind is str or kind is bytes:
            obj = self._texts.setdefault((kind, obj), obj)
        super().save(obj, save_persistent_id)
        if not isinstance(obj, _SHARED):
            written = self.memo.pop(id(obj), None)
            if written is not None:
                # It stays alive and counted, so that no other object has its id or its number.
                self.memo[-1 - written[0]] = written

    def save_global(self, obj: Any, name: str | None = None) -> None:
        found = _Name(name or getattr(obj, "__qualname__", None) or obj.__name__)
        if getattr(obj, "__module__", None) in PATH_MODULES:
            self.save(PATH_MODULES[0])
            self.save(found)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)
        else:
            super().save_global(obj, found)

    def reducer_override(self, obj: Any) -> Any:
        if issubclass(type(obj), type):
            return _reduce_class(obj)
        if type(obj) is FunctionType and not _is_importable(obj):
            raise _not_importable(obj)
        if isinstance(obj, (set, frozenset)) and type(obj) not in (set, frozenset):
            raise _unordered(obj)
        if type(obj).__module__ in PATH_MODULES:
            # Python 3.13 writes the text of a path.
            return type(obj), cast(Any, obj).parts
        if isinstance(obj, Mapping) and not isinstance(obj, OrderedDict) and type(obj) is not dict:
            return _with_sorted_items(obj)
        return _without_computed(obj) if hasattr(obj, "__dict__") else NotImplemented

    def save_set(self, obj: Iterable[object]) -> None:
        """Write the members in the order of their pickles."""
        if self._in_set:
            raise _unordered(obj)
        members = sorted(obj, key=lambda member: _dump(member, in_set=True))
        self.save_reduce(type(obj), (members,), obj=obj)

    dispatch[set] = dispatch[frozenset] = save_set
    dispatch[FunctionType] = save_global
    dispatch[_Name] = _Pickler.save_str


def _reduce_class(cls: type) -> Any:
    model = reduce_model(cls)
    if model is not NotImplemented:
        return model
    if not _is_importable(cls):
        raise _not_importable(cls)
    return _reduce_builtin(None, cls)


def _not_importable(found: Any) -> InvalidError:
    return InvalidError(
        f"The key refers to {found.__qualname__!r}, which is not in an importable module, so that its bytes would "
        "differ between processes: move it into a module"
    )


def _unordered(found: object) -> InvalidError:
    return InvalidError(
        f"The key contains a {type(found).__name__} inside of an object or of another set: its order, and so its "
        "pickle, is not stable. Use a sorted tuple"
    )


def _is_importable(obj: Any) -> bool:
    if obj.__module__ in MAIN_MODULES:
        return False
    return obj.__module__ == "builtins" or find_in(obj.__module__, obj.__qualname__) is obj


def _with_sorted_items(mapping: Any) -> Any:
    """Return how pickle reduces a mapping other than dict, with its items in the order of the pickles of their keys."""

    def order(items: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        return sorted(items, key=lambda item: _dump(item[0], in_set=True))

    reduced = mapping.__reduce_ex__(5)
    if isinstance(reduced, str):
        return NotImplemented
    function, arguments, *rest = reduced
    arguments = tuple(dict(order(part.items())) if type(part) is dict else part for part in arguments)
    if len(rest) > 2 and rest[2] is not None:
        rest[2] = iter(order(rest[2]))
    return function, arguments, *rest


def _without_computed(obj: Any) -> Any:
    """Return how pickle reduces the object, without what does not count when it is compared; else NotImplemented."""
    kind = type(obj)
    computed = {name for name in vars(obj) if isinstance(getattr(kind, name, None), cached_property)}
    is_model = hasattr(kind, "__pydantic_fields_set__")
    if not computed and not is_model:
        return NotImplemented
    reduced = obj.__reduce_ex__(5)
    if isinstance(reduced, str) or len(reduced) < 3 or not isinstance(reduced[2], dict):
        return NotImplemented
    state = reduced[2]
    if is_model:
        fields = {name: value for name, value in state["__dict__"].items() if name not in computed}
        # A field that was passed equals one that has its default.
        state = {**state, "__dict__": fields, "__pydantic_fields_set__": set(fields)}
    else:
        state = {name: value for name, value in state.items() if name not in computed}
    return (*reduced[:2], state, *reduced[3:])
