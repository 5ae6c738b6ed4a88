"""The pickler of values. Imported by writers alone, since it loads cloudpickle."""

from __future__ import annotations

import io
import operator
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable
from enum import Enum
from enum import member as enum_member
from functools import cached_property, partial
from types import CodeType
from typing import Any, ClassVar, NewType, ParamSpec, TypeVar, TypeVarTuple

import cloudpickle
from cloudpickle.cloudpickle import _make_skeleton_class

from .._pickle import restore
from .exceptions import reduce_exception
from .main_objects import (
    MAIN_MODULES,
    PATH_MODULES,
    PYTHON,
    CachedFunction,
    describe_type_variable,
    find_in,
    fingerprint,
    generic_model,
    is_main_object,
    main_module,
    outline,
)


def _reduce_cached_property(prop: cached_property[Any]) -> tuple[Any, ...]:
    return cached_property, (prop.func,), {"attrname": prop.attrname}


def _reduce_typing(found: Any) -> Any:
    """Return the object by value if a script has made it: pickle refers to it by name, which other programs lack."""
    if found.__module__ not in MAIN_MODULES:
        return found.__reduce__()
    arguments = (found.__supertype__,) if isinstance(found, NewType) else ()
    return restore, ("MainTyping", type(found).__name__, found.__name__, *arguments)


def reduce_model(found: Any) -> Any:
    """Return how to make a generic model of pydantic with its arguments, such as ``Page[int]``; else NotImplemented."""
    if not issubclass(type(found), type) or generic_model(found) is found:
        return NotImplemented
    return operator.getitem, (generic_model(found), found.__pydantic_generic_metadata__["args"])


CLOUDPICKLE_REDUCERS: Any = cloudpickle.CloudPickler.dispatch_table


def _reduce_code(code: CodeType) -> Any:
    """Return the code with the version of Python that it is for: another would crash."""
    return restore, ("Code", PYTHON, code.co_qualname, *CLOUDPICKLE_REDUCERS[CodeType](code)[1])


_REDUCERS: ChainMap[Any, Any] = CLOUDPICKLE_REDUCERS.new_child(
    {**dict.fromkeys((NewType, ParamSpec, TypeVarTuple), _reduce_typing), CodeType: _reduce_code}
)


def _reduce_type_variable(variable: TypeVar) -> Any:
    if variable.__module__ not in MAIN_MODULES:
        return CLOUDPICKLE_REDUCERS[TypeVar](variable)
    return restore, ("MainTypeVar", variable.__name__, describe_type_variable(variable), _definition(variable))


def _reduce_cached_function(cached: Any) -> Any:
    """Return the function by value, where pickle would refer to it by a name that readers lack."""
    if cached.__module__ not in MAIN_MODULES and find_in(cached.__module__, cached.__qualname__) is cached:
        return cached.__reduce__()
    return restore, ("CachedFunction", cached.__wrapped__, cached.cache_parameters())


_HEAP_TYPE = 1 << 9
"""`Py_TPFLAGS_HEAPTYPE` of a class that was made by a class statement."""
_ENUM_ATTRIBUTES = frozenset({"_name_", "_value_", "_sort_order_", "__objclass__"})


def _complete_enum(enum: type[Enum], reduced: Any) -> Any:
    """Return how cloudpickle reduces the class, with its aliases and what its members have beside their values."""
    function, (bases, name, qualified_name, _, *rest), (class_dict, slots), *_ = reduced
    members = {alias: _enum_value(member.value) for alias, member in enum.__members__.items()}
    class_dict = {attribute: class_dict[attribute] for attribute in class_dict if attribute not in members}
    attributes = {
        member.name: {key: value for key, value in vars(member).items() if key not in _ENUM_ATTRIBUTES}
        for member in enum.__members__.values()
    }
    state = class_dict, slots, attributes
    arguments = bases, name, qualified_name, members, *rest
    return function, arguments, state, None, None, partial(restore, "EnumState")


def _enum_value(value: Any) -> Any:
    """Return what makes a member of this value: without a mark, a function or class would be a method or attribute."""
    return enum_member(value) if hasattr(value, "__get__") else value


def _reduce_class(cls: type, reduced: Any) -> Any:
    """Return how cloudpickle reduces a class, except where it could not be read."""
    if cls.__module__ == PATH_MODULES[1]:
        return getattr, (sys.modules[PATH_MODULES[0]], cls.__qualname__)
    if not isinstance(reduced, tuple):
        return reduced
    if issubclass(cls, Enum):
        return _complete_enum(cls, reduced)
    if reduced[0] is _make_skeleton_class and not _can_be_copied(cls):
        raise pickle.PicklingError(
            f"cannot pickle {cls!r}: it is not in its module under its name, and no copy of it can be made"
        )
    return reduced


def _can_be_copied(cls: type) -> bool:
    """Return whether a class can be made again: not that of `sys.version_info`, nor a Struct of msgspec."""
    return bool(cls.__flags__ & _HEAP_TYPE) and not hasattr(cls, "__struct_fields__")


class _DefinitionPickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle, also for functions with a cache, for all of an Enum, and for a cached_property.

    Of the latter: before Python 3.12 it has a lock.
    """

    dispatch_table: ClassVar[Any] = _REDUCERS.new_child(
        {cached_property: _reduce_cached_property, CachedFunction: _reduce_cached_function}
    )

    def reducer_override(self, obj: Any) -> Any:
        model = reduce_model(obj)
        if model is not NotImplemented:
            return model
        return self._reduce_by_value(obj)

    def _reduce_by_value(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        return _reduce_class(obj, reduced) if issubclass(type(obj), type) else reduced


class ValuePickler(_DefinitionPickler):
    """cloudpickle, which refers to classes and functions of ``__main__`` by name, fingerprint and definition."""

    dispatch_table: ClassVar[Any] = _DefinitionPickler.dispatch_table.new_child({TypeVar: _reduce_type_variable})

    def reducer_override(self, obj: Any) -> Any:
        model = reduce_model(obj)
        if model is not NotImplemented:
            return model
        if issubclass(type(obj), BaseException):
            return reduce_exception(obj)
        return _reduce_main_object(obj) if is_main_object(obj) else self._reduce_by_value(obj)


def _reduce_main_object(obj: Any) -> Any:
    description = obj.__qualname__, fingerprint(obj), _definition(obj), PYTHON, outline(obj)
    module = main_module()
    return restore, ("MainObject", *description, module) if module else ("MainObject", *description)


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
