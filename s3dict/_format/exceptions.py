"""Exceptions in values. pickle restores them by a call with their ``args``.

Many constructors do not accept these, or make another message of them.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from .._pickle import restore


def reduce_exception(error: BaseException) -> Any:
    """Return how to restore an exception without its constructor, if that is written in Python; else NotImplemented.

    Slots are no part of what pickle stores: a constructor that sets them is called, if it accepts the arguments.
    """
    kind: Any = type(error)
    constructors = [method for method in (kind.__init__, kind.__new__) if isinstance(method, FunctionType)]
    if not constructors or isinstance(kind.__reduce__, FunctionType) or isinstance(kind.__reduce_ex__, FunctionType):
        return NotImplemented
    reduced: Any = error.__reduce__()
    if isinstance(reduced, str) or reduced[0] is not kind:
        return NotImplemented
    has_slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    if has_slots and all(_accepts(constructor, reduced[1]) for constructor in constructors):
        return NotImplemented
    return restore, ("Exception", kind, reduced[1]), *reduced[2:]


def _accepts(constructor: FunctionType, arguments: tuple[object, ...]) -> bool:
    import inspect

    try:
        inspect.signature(constructor).bind(None, *arguments)
    except TypeError:
        return False
    return True


def load_exception(kind: Any, arguments: tuple[object, ...]) -> BaseException:
    """Return an exception with these ``args``. pickle sets its attributes afterwards."""
    builtin = kind
    while builtin.__module__ != "builtins":
        builtin = builtin.__base__
    error: BaseException = builtin.__new__(kind, *arguments)
    builtin.__init__(error, *arguments)
    return error
