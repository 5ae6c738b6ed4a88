"""Classes and functions of ``__main__`` in values: the reader's own where they are the same, by value otherwise.

A script's classes are in the module ``__main__``, which is another module in every program. Pickle refers to them by
name, and may find another class of that name; cloudpickle copies them, so that what is read never equals what the
reader makes. Here a pickle has the qualified name, a fingerprint of the definition, and the definition by value, which
is loaded only where the reader has no such class, or another one.
"""

from __future__ import annotations

import sys
from enum import Enum
from functools import cached_property, lru_cache, partialmethod
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .c_modules import blake2b

MAIN_MODULES = ("__main__", "__mp_main__")
"""The script, and the name under which a child of `multiprocessing` imports it."""

PATH_MODULES = ("pathlib", "pathlib._local")
"""The module of paths, and how Python 3.13 calls it in pickles, which no earlier version can read."""

CachedFunction: type = type(lru_cache(len))
"""What `functools.lru_cache` makes of a function."""

PYTHON = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
"""Part of the fingerprint, since bytecode differs."""
_PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})
_known_digests: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()


def is_main_object(found: object) -> bool:
    """Return whether this is a class or function that ``__main__`` has under its qualified name."""
    if not isinstance(found, type) and type(found) not in (FunctionType, CachedFunction):
        return False
    named: Any = found
    return named.__module__ in MAIN_MODULES and find_in(named.__module__, named.__qualname__) is found


def generic_model(cls: Any) -> Any:
    """Return ``Page`` for a model of pydantic such as ``Page[int]``, or the class itself.

    The module of ``Page[int]`` is the one that first wrote this, where as a rule it has no name.
    """
    metadata = vars(cls).get("__pydantic_generic_metadata__")
    return metadata["origin"] or cls if metadata else cls


def find_in(module: str, qualified_name: str) -> Any:
    """Return the object of that name in the module; None when it does not exist."""
    found: Any = sys.modules.get(module)
    for name in qualified_name.split("."):
        found = getattr(found, name, None)
    return found


def find_main_object(qualified_name: str) -> Any:
    """Return the reader's own class or function of that name; None when it does not exist."""
    candidates = (find_in(module, qualified_name) for module in MAIN_MODULES)
    return next((found for found in candidates if found is not None and is_main_object(found)), None)


def main_module() -> str:
    """Return the name under which other programs import ``__main__``, as `python -m` has it; empty for a script."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return "" if spec is None else str(spec.name)


def load_main_object(
    qualified_name: str,
    expected: str,
    definition: bytes,
    python: str = PYTHON,
    expected_outline: str = "",
    module: str = "",
) -> Any:
    """Return the class or function that a pickle refers to.

    It is the reader's own if it is the same, else that of the module which the writer ran, if the reader has imported
    it, and else the definition.

    Raises:
        LookupError: The reader has no such class, and the definition could not be pickled.
        UnpicklingError: The definition contains code of another version of Python.
    """
    own = find_main_object(qualified_name)
    if own is not None and expected == fingerprint(own):
        return own
    if own is not None and python != PYTHON and expected_outline == outline(own):
        # Bytecode of another version can neither be compared nor run.
        return own
    imported = find_in(module, qualified_name)
    if getattr(imported, "__module__", None) == module:
        return imported
    if not definition:
        state = "does not exist here" if own is None else "is defined differently here"
        raise LookupError(
            f"{qualified_name} of the script that wrote the value {state}, and could not be stored with it: move it "
            "into a module that both programs import"
        )
    return _load_definition(qualified_name, definition, python)


def _load_definition(qualified_name: str, definition: bytes, python: str) -> Any:
    import pickle

    try:
        return pickle.loads(definition)
    except Exception as error:
        if python == PYTHON or isinstance(error, pickle.UnpicklingError):
            raise
        # A class of the standard library differs, such as that of the parameters of a dataclass.
        raise pickle.UnpicklingError(_other_python(f"the definition of {qualified_name!r}", python)) from error


def load_main_typing(kind: str, name: str, *arguments: Any) -> Any:
    """Return an object of `typing` that a script has given this name: the reader's own if it is the same."""
    import typing

    made = getattr(typing, kind)(name, *arguments)
    made.__module__ = "__main__"
    own = next((found for module in MAIN_MODULES if type(found := find_in(module, name)) is type(made)), None)
    same = own is not None and getattr(own, "__supertype__", None) == getattr(made, "__supertype__", None)
    return own if same else made


def describe_type_variable(variable: TypeVar) -> tuple[str, ...]:
    """Return what distinguishes a type variable from others of its name."""
    parts = variable.__bound__, variable.__constraints__, variable.__covariant__, variable.__contravariant__
    return tuple(repr(part).replace("__mp_main__", "__main__") for part in parts)


def load_main_type_variable(name: str, described: tuple[str, ...], definition: bytes) -> Any:
    """Return a type variable that a script has given this name: the reader's own if it is the same."""
    for module in MAIN_MODULES:
        own = find_in(module, name)
        if isinstance(own, TypeVar) and describe_type_variable(own) == described:
            return own
    import pickle

    return pickle.loads(definition)


def load_code(python: str, name: str, *arguments: Any) -> CodeType:
    """Return the code of a function that was pickled by value.

    Raises:
        UnpicklingError: It is of another version of Python, whose bytecode would crash this process.
    """
    if python != PYTHON:
        from pickle import UnpicklingError

        raise UnpicklingError(_other_python(f"the code of {name!r}", python))
    return CodeType(*arguments)


def _other_python(part: str, python: str) -> str:
    return (
        f"it contains {part} for {python}, and this is {PYTHON}: move what a script defines into a module that both "
        "programs import, or read it with that version"
    )


def load_cached_function(function: Any, parameters: dict[str, Any]) -> Any:
    """Return the function with an empty `functools.lru_cache`."""
    return lru_cache(**parameters)(function)


def set_enum_state(enum: Any, state: tuple[Any, ...]) -> Any:
    """Set what a definition by value contains beside the members and their values, attributes of the members included.

    Members are made before the class has its methods: what ``__init__`` or ``__new__`` have set is stored.
    """
    from cloudpickle.cloudpickle import _class_setstate

    *class_state, attributes = state
    _class_setstate(enum, tuple(class_state))
    for name, values in attributes.items():
        vars(enum[name]).update(values)
    return enum


class _WithoutCode(set[int]):
    """The objects that have been described, where code is not part of a description."""


def fingerprint(found: Any) -> str:
    """Return a digest of the definition of a class or function, which equal source text has in every process."""
    return _digests(found)[0]


def outline(found: Any) -> str:
    """Return a digest of the definition without the code of functions, which every version of Python has."""
    return _digests(found)[1]


def _digests(found: Any) -> tuple[str, str]:
    try:
        known = _known_digests.get(found)
        if known is None:
            known = _known_digests[found] = _digest(PYTHON, found, set()), _digest("", found, _WithoutCode())
    except TypeError:
        # A metaclass may make its classes unhashable.
        return _digest(PYTHON, found, set()), _digest("", found, _WithoutCode())
    return known


def _digest(python: str, found: Any, visited: set[int]) -> str:
    described = _class(found, visited) if isinstance(found, type) else _function(unwrap(found), visited)
    return blake2b(repr((python, described)).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _class(cls: type, visited: set[int]) -> object:
    if id(cls) in visited:
        return _name(cls)
    visited.add(id(cls))
    members: Any = vars(cls)
    return (
        _name(cls),
        _name(type(cls)),
        [_class(base, visited) if base.__module__ in MAIN_MODULES else _name(base) for base in cls.__bases__],
        _annotations(members.get("__annotations__")),
        _fields(cls, visited),
        [(name, _value(members[name], visited)) for name in sorted(members) if _is_written(members, name)],
    )


def _fields(cls: Any, visited: set[int]) -> object:
    """Return what generates the members of dataclasses, attrs and pydantic classes, named tuples and enums."""
    if issubclass(cls, Enum):
        return [(name, _value(member.value, visited)) for name, member in cls.__members__.items()]
    fields: list[tuple[object, ...]] = []
    fields += [
        (field.name, field.init, field.compare, field.default, field.default_factory)
        for field in getattr(cls, "__dataclass_fields__", {}).values()
    ]
    fields += [(field.name, field.init, bool(field.eq), field.default) for field in getattr(cls, "__attrs_attrs__", ())]
    fields += [
        (name, field.default, field.default_factory, field.alias)
        for name, field in (getattr(cls, "__pydantic_fields__", None) or {}).items()
    ]
    fields += getattr(cls, "_field_defaults", {}).items()
    params = getattr(cls, "__dataclass_params__", None)
    return [_value(field, visited) for field in fields], params and (params.frozen, params.eq, params.order)


def _is_written(members: Any, name: str) -> bool:
    """Return whether the class statement has this member, and no decorator or metaclass has generated it."""
    member = members[name]
    if name.startswith("__pydantic_") or isinstance(member, Enum):
        return False
    functions = _functions_of(member)
    if not functions:
        # Other attributes are often state, which differs between processes.
        return name == "__slots__" or (isinstance(member, type) and member.__module__ in MAIN_MODULES)
    # The script of `python -c` has the file name of code that dataclass generates.
    has_generated = not members.keys().isdisjoint(("__dataclass_fields__", "__attrs_attrs__"))
    return all(_is_of_main(function) and not (has_generated and is_generated(function)) for function in functions)


def _is_of_main(function: FunctionType) -> bool:
    """Return whether the function is written in a script, and not added to its class by a module, as attrs does."""
    return function.__module__ in MAIN_MODULES and function.__globals__.get("__name__") in MAIN_MODULES


def is_generated(function: Any) -> bool:
    """Return whether dataclass or attrs has generated this special method of one of their classes."""
    code: CodeType = function.__code__
    return code.co_name.startswith("__") and code.co_filename.startswith(("<string>", "<attrs generated"))


def _functions_of(member: Any) -> list[Any]:
    if isinstance(member, property):
        parts: list[Any] = [member.fget, member.fset, member.fdel]
    elif isinstance(member, (classmethod, staticmethod)):
        parts = [member.__func__]
    elif isinstance(member, (cached_property, partialmethod)):
        parts = [member.func]
    else:
        parts = [member]
    functions = [unwrap(part) if callable(part) and not isinstance(part, type) else part for part in parts]
    return [function for function in functions if isinstance(function, FunctionType)]


def _function(function: Any, visited: set[int]) -> object:
    if id(function) in visited:
        return _name(function)
    visited.add(id(function))
    return (
        _name(function),
        _code(function.__code__, visited),
        _value(function.__defaults__, visited),
        _value(function.__kwdefaults__, visited),
        _annotations(function.__annotations__),
    )


def _code(code: CodeType, visited: set[int]) -> object:
    """Return what runs; not where it is written."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    if isinstance(visited, _WithoutCode):
        return counts, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    arguments = *counts, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return arguments, names, code.co_code, code.co_exceptiontable, _value(code.co_consts, visited)


def _value(value: Any, visited: set[int]) -> object:
    """Return a description that is the same in every process: no addresses, no order of a set."""
    kind = type(value)
    if kind in _PLAIN_TYPES:
        return repr(value)
    if kind in (tuple, list):
        return kind.__name__, [_value(item, visited) for item in value]
    if kind in (set, frozenset):
        return kind.__name__, sorted(repr(_value(item, visited)) for item in value)
    if kind is dict:
        return [(_value(key, visited), _value(item, visited)) for key, item in value.items()]
    if kind is CodeType:
        return _code(value, visited)
    if isinstance(value, type):
        return _class(value, visited) if value.__module__ in MAIN_MODULES else _name(value)
    if isinstance(value, Enum):
        return _name(kind), value.name
    functions = [function for function in _functions_of(value) if function.__module__ in MAIN_MODULES]
    if functions:
        return _name(kind), [_function(function, visited) for function in functions]
    return _name(value) if kind is FunctionType else _name(kind)


def _annotations(annotations: Any) -> object:
    texts = ((name, text if isinstance(text, str) else _text(text)) for name, text in (annotations or {}).items())
    return [
        (name, text.replace("__mp_main__", "__main__").replace(PATH_MODULES[1], PATH_MODULES[0]))
        for name, text in texts
    ]


def _text(annotation: Any) -> str:
    return ".".join(_name(annotation)) if isinstance(annotation, type) else repr(annotation)


def _name(named: Any) -> tuple[str, str]:
    module = named.__module__
    for public, *others in (MAIN_MODULES, PATH_MODULES):
        if module in others:
            module = public
    return str(module), str(named.__qualname__)
