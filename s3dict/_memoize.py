"""memoize: a function whose results are stored in a Dict."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary, ref

from ._config import DEFAULT_LEASE
from ._core.expiry import Ttl
from ._dict import Dict, to_refresh
from ._duration import Duration
from ._lock import to_lease
from ._memoized import (
    MAIN_MODULES,
    PLAIN_TYPES,
    AsyncMemoized,
    Binding,
    Keys,
    Memoized,
    MemoizedFunction,
    MemoizedStatic,
    Target,
    call_key,
    code_of,
    contents,
    free_variables,
    owner_of,
    pickle_by_value,
)
from .errors import InvalidError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Memoizer(Protocol):
    """The decorator that `memoize` returns."""

    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> MemoizedStatic[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, function: staticmethod[P, R], /
    ) -> MemoizedStatic[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncMemoized[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Memoized[P, R]: ...


def memoize(
    d: Dict[Any, Any],
    *,
    lease: Duration = DEFAULT_LEASE,
    ttl: Ttl | None = None,
    key: Callable[..., Any] | None = None,
    ignore: Iterable[str] = (),
    version: str | Callable[[Callable[..., Any]], str] | None = None,
    stale: Duration = 0,
    early: float = 0,
) -> Memoizer:
    """Store a function's results in `d`: of all callers with equal arguments, in all processes, one computes.

    ::

        @memoize(Dict.from_name("thumbnails", create_if_missing=True, ttl=timedelta(days=1)))
        def thumbnail(url: str, width: int = 200) -> bytes: ...

    It takes functions, coroutine functions and methods. A result is kept for the dict's ttl after it was last returned.
    The key is the function's qualified name and its arguments, defaults included: they have to be hashable, and are
    best of types that need no pickling. Equal arguments are one key: ``1``, ``1.0`` and ``True``. Variables of an
    enclosing function are part of the key where they are numbers, strings, bytes or None.

    The memoized function has ``aio`` (awaited, also where the function itself blocks), ``key(...)``, ``refresh(...)``,
    ``forget(...)``, each with the arguments of a call, and ``cache_info()``. The instance of a method is an argument
    like the others, and so is the class of a class method: memoize it above ``@classmethod``.

    Functions of different programs that share `d` must not have the same name: everything in a script is in the module
    ``__main__``.

    Args:
        d: Where the results are stored; several functions may share it.
        lease: Seconds or timedelta after which a caller that has died is replaced: see `Dict.get_or_compute`, which
            also states the number of requests.
        ttl: Seconds or timedelta for which a result is kept, however often it is returned: at most the dict's ttl.
            None keeps it for the dict's ttl after it was last returned.
        key: Called with all arguments of a call, defaults included, each at its position; returns what takes their
            place in the key. For arguments that cannot be part of a key.
        ignore: Names of arguments that are not part of the key, such as ``self``.
        version: A part of the key, to be changed when the function returns other results than before; or a callable
            that returns it for the function, such as `code_hash`.
        stale: As of `Dict.get_or_compute`; needs `ttl`.
        early: As of `Dict.get_or_compute`; needs `ttl`.

    Raises:
        InvalidError: The function has no name of its own (a lambda, a ``functools.partial``, a callable object), or is
            a generator; or another memoized function has the same name, or the same code with other variables of an
            enclosing function; or an argument is not valid.
    """
    if not isinstance(d, Dict):
        raise InvalidError("memoize takes the Dict for the results: write @memoize(d), with parentheses")
    to_lease(lease)
    to_refresh(ttl, stale, early)
    options = {"lease": lease, "ttl": ttl, "stale": stale, "early": early}

    def decorate(function: Any) -> Any:
        binding, plain = _unwrapped(function)
        name = _validated_name(plain)
        signature = _validated_signature(name, plain)
        ignored = _validated_ignore(name, signature, ignore, key)
        keys = Keys(name, plain, key, ignored, _validated_version(plain, version))
        _require_only_one(d, keys)
        pickle_by_value(plain)
        return MemoizedFunction(Target(d, keys, binding, options))

    return decorate


def code_hash(function: Callable[..., Any]) -> str:
    """Return a hash of the function's code, for ``memoize(d, version=code_hash)``: changed code computes again.

    It covers the code of the function, its default values and annotations; not the functions that it calls, nor
    comments and layout. It differs between minor versions of Python.

    Raises:
        InvalidError: The function is not written in Python.
    """
    from ._format.main_objects import fingerprint

    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, FunctionType):
        raise InvalidError(f"{function!r} has no code to hash: it is not a function that is written in Python")
    return fingerprint(function)


def _unwrapped(function: Any) -> tuple[Binding, Any]:
    if isinstance(function, classmethod):
        return Binding.CLASS, function.__func__
    if isinstance(function, staticmethod):
        return Binding.NOTHING, function.__func__
    if owner_of(function):
        return Binding.NOTHING, function
    return Binding.INSTANCE, function


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
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidError(f"The generator {name} cannot be memoized: return a list of what it yields")
    # Methods of built-in types have no module.
    module = getattr(function, "__module__", None) or "builtins"
    return f"{'__main__' if module in MAIN_MODULES else module}.{name}"


def _validated_signature(name: str, function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError as error:
        raise InvalidError(
            f"{name} cannot be memoized: Python does not know its arguments. Wrap it, with def"
        ) from error


def _validated_ignore(
    name: str, signature: inspect.Signature, ignore: Iterable[str], key: Callable[..., Any] | None
) -> frozenset[str]:
    if isinstance(ignore, str):
        raise InvalidError(f"memoize's ignore takes the names of arguments: pass [{ignore!r}]")
    ignored, parameters = frozenset(ignore), signature.parameters
    if ignored and key is not None:
        raise InvalidError("memoize's key and ignore are mutually exclusive: the key contains what you return")
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [argument for argument in ignored if argument not in parameters and not takes_any]
    if unknown:
        raise InvalidError(f"{name} has no argument {unknown[0]!r} to ignore. It has: {', '.join(parameters)}")
    return ignored


def _validated_version(
    function: Callable[..., Any], version: str | Callable[[Callable[..., Any]], str] | None
) -> str | None:
    if version is None:
        return None
    chosen = version(function) if callable(version) else version
    if not isinstance(chosen, str):
        raise InvalidError(f"Invalid version of a memoized function: {chosen!r}. It is a string, or returns one")
    return chosen


@dataclass(frozen=True, slots=True)
class _Definition:
    """A function that is memoized in this process, and the variables of an enclosing function that it uses."""

    function: ref[Any]
    code: CodeType | None
    captured: tuple[object, ...]


_Definitions = dict[tuple[object, ...], _Definition]
_definitions: WeakKeyDictionary[Any, _Definitions] = WeakKeyDictionary()
"""The last definition of each name and version in each dict of a client, which they do not keep alive."""
_definitions_of_env: _Definitions = {}
"""The same for handles that take the client of the environment."""


def _require_only_one(d: Dict[Any, Any], keys: Keys) -> None:
    """Raise InvalidError when results of this function would be taken for those of another.

    A function that is defined again, in a notebook or after a reload, takes the place of the first.
    """
    name, function = keys.name, keys.function
    other_objects = [
        content for content in contents(free_variables(function).values()) if not isinstance(content, PLAIN_TYPES)
    ]
    definition = _Definition(_weak(function), code_of(function), tuple(other_objects))
    client, identity = d._state.chosen_client, (d._state.ref, name, keys.version)
    definitions = _definitions_of_env if client is None else _definitions.setdefault(client, {})
    previous = definitions.get(identity)
    if previous is not None and previous.code != definition.code and previous.function() is not None:
        raise InvalidError(f"Another memoized function is called {name}: rename one of them, or use another Dict")
    if previous is not None and previous.code == definition.code and not _same(previous, definition):
        raise InvalidError(
            f"{name} was memoized before with other objects in the variables of its enclosing function, which are not "
            "part of the key: pass them as arguments. A decorator's wrapper needs functools.wraps"
        )
    definitions[identity] = definition


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


_key = call_key
"""As functions refer to it that 0.1 pickled with their code."""

# As of the other public names: a pickle of the function refers to what users import.
memoize.__module__ = code_hash.__module__ = "s3dict"
