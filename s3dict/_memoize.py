"""memoize: a function whose results are stored in a Dict."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import CellType, CodeType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload
from weakref import ref

from ._config import DEFAULT_LEASE
from ._dict import Dict
from ._duration import Duration
from ._lock import to_lease
from .errors import InvalidError

P = ParamSpec("P")
P2 = ParamSpec("P2")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class Memoized(Protocol[P, R_co]):
    """The function that `memoize` returns."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    @property
    def key(self) -> Callable[P, tuple[Any, ...]]:
        """The key of a call with these arguments."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Memoized[P, R_co]: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[S, P2], R_co], instance: S, owner: type | None = None
    ) -> Callable[P2, R_co]: ...


@dataclass(frozen=True, slots=True)
class _Definition:
    """A function that is memoized in this process, and the variables of an enclosing function that it uses."""

    function: ref[Any]
    code: CodeType | None
    captured: tuple[object, ...]


_definitions: dict[tuple[object, ...], _Definition] = {}
"""The last definition of each name in each dict."""

_PLAIN_TYPES = (bool, int, float, str, bytes, type(None))


def memoize(
    d: Dict[Any, Any], *, lease: Duration = DEFAULT_LEASE, ttl: Duration | None = None
) -> Callable[[Callable[P, R]], Memoized[P, R]]:
    """Store a function's results in `d`: of all callers with equal arguments, in all processes, one computes.

    ::

        @memoize(Dict.from_name("thumbnails", create_if_missing=True, ttl=timedelta(days=1)))
        def thumbnail(url: str, width: int = 200) -> bytes: ...

    It takes functions and coroutine functions. A result is kept for the dict's ttl after it was last returned. The key
    is the function's qualified name and its arguments, defaults included: they have to be hashable, and are best of
    types that need no pickling. ``function.key(...)`` is the key of a call, so ``d.pop(function.key("a"))`` removes the
    result. Variables of an enclosing function are part of the key where they are numbers, strings, bytes or None.

    Functions of different programs that share `d` must not have the same name: everything in a script is in the module
    ``__main__``.

    Args:
        d: Where the results are stored; several functions may share it.
        lease: Seconds or timedelta after which a caller that has died is replaced: see `Dict.get_or_compute`, which
            also states the number of requests.
        ttl: Seconds or timedelta for which a result is kept, however often it is returned: at most the dict's ttl.
            None keeps it for the dict's ttl after it was last returned.

    Raises:
        InvalidError: The function has no name of its own (a lambda, a ``functools.partial``, a callable object); or
            another memoized function has the same name, or the same code with other variables of an enclosing function.
    """
    if not isinstance(d, Dict):
        raise InvalidError("memoize takes the Dict for the results: write @memoize(d), with parentheses")

    to_lease(lease)

    def decorate(function: Callable[P, R]) -> Memoized[P, R]:
        name = _validated_name(function)
        signature = inspect.signature(function)
        variables = _free_variables(function)

        def key(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, ...]:
            bound = signature.bind(*args, **kwargs)
            _require_hashable(name, bound)
            return _key(name, bound, variables)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = d.get_or_compute(key(*args, **kwargs), lambda: function(*args, **kwargs), lease, ttl=ttl)
            return result

        @functools.wraps(function)
        async def call_aio(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await d.get_or_compute.aio(key(*args, **kwargs), lambda: function(*args, **kwargs), lease, ttl=ttl)

        wrapper: Any = call_aio if inspect.iscoroutinefunction(function) else call
        wrapper.key = key
        _require_only_one(d, name, function)
        memoized: Memoized[P, R] = wrapper
        return memoized

    return decorate


def _validated_name(function: Callable[..., Any]) -> str:
    """Return the name that identifies the function in all processes. Raises InvalidError when it has none."""
    name = getattr(function, "__qualname__", None)
    if name is None or not callable(function):
        kind = type(function).__name__
        raise InvalidError(
            f"An object of type {kind!r} cannot be memoized: it has no name. Memoize a function, with def"
        )
    if function.__name__ == "<lambda>":
        raise InvalidError("A lambda cannot be memoized: all of a module's have the same name. Give it one with def")
    # Methods of built-in types have no module.
    return f"{getattr(function, '__module__', 'builtins')}.{name}"


def _code_of(function: Callable[..., Any]) -> CodeType | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def _free_variables(function: Callable[..., Any]) -> dict[str, CellType]:
    """Return the variables of enclosing functions; ``super()`` uses ``__class__``, which the name determines."""
    code, cells = _code_of(function), getattr(inspect.unwrap(function), "__closure__", None)
    names = () if code is None else code.co_freevars
    return {name: cell for name, cell in zip(names, cells or (), strict=True) if name != "__class__"}


def _contents(cells: Iterable[CellType]) -> Iterator[object]:
    for cell in cells:
        # That of a recursive function is empty until it has been decorated.
        with suppress(ValueError):
            yield cell.cell_contents


def _require_only_one(d: Dict[Any, Any], name: str, function: Callable[..., Any]) -> None:
    """Raise InvalidError when results of this function would be taken for those of another.

    A function that is defined again, in a notebook or after a reload, takes the place of the first.
    """
    other_objects = [
        content for content in _contents(_free_variables(function).values()) if not isinstance(content, _PLAIN_TYPES)
    ]
    definition = _Definition(_weak(function), _code_of(function), tuple(other_objects))
    identity = d._state.ref, d._state.chosen_client, name
    previous = _definitions.get(identity)
    if previous is not None and previous.code != definition.code and previous.function() is not None:
        raise InvalidError(f"Another memoized function is called {name}: rename one of them, or use another Dict")
    if previous is not None and previous.code == definition.code and not _same(previous, definition):
        raise InvalidError(
            f"{name} was memoized before with other objects in the variables of its enclosing function, which are not "
            "part of the key: pass them as arguments. A decorator's wrapper needs functools.wraps"
        )
    _definitions[identity] = definition


def _weak(function: Callable[..., Any]) -> ref[Any]:
    try:
        return ref(function)
    except TypeError:
        # A method of a built-in type, which is defined once and never goes.
        return ref(type(function))


def _same(previous: _Definition, definition: _Definition) -> bool:
    def equal(old: object, new: object) -> bool:
        # Arrays compare element by element.
        return old is new or (type(old) is type(new) and (old == new) is True)

    pairs = zip(previous.captured, definition.captured, strict=False)
    return len(previous.captured) == len(definition.captured) and all(equal(old, new) for old, new in pairs)


def _require_hashable(name: str, bound: inspect.BoundArguments) -> None:
    for argument, value in bound.arguments.items():
        try:
            hash(tuple(value.items()) if isinstance(value, dict) and _is_keywords(bound, argument) else value)
        except TypeError as error:
            # As of any other key that is not hashable.
            raise TypeError(
                f"{name}: the argument {argument!r} cannot be part of a key ({error}): pass a hashable value, such as "
                "a tuple for a list"
            ) from error


def _is_keywords(bound: inspect.BoundArguments, argument: str) -> bool:
    return bound.signature.parameters[argument].kind is inspect.Parameter.VAR_KEYWORD


def _key(name: str, bound: inspect.BoundArguments, variables: Mapping[str, CellType] = {}) -> tuple[Any, ...]:
    """Return one key for all spellings of a call: f(1, b=2), f(1, 2) and f(b=2, a=1) are the same."""
    bound.apply_defaults()
    captured = tuple(content for content in _contents(variables.values()) if isinstance(content, _PLAIN_TYPES))
    key = name, bound.args, tuple(sorted(bound.kwargs.items()))
    return (*key, captured) if captured else key


# As of the other public names: a pickle of the function refers to what users import.
memoize.__module__ = "s3dict"
