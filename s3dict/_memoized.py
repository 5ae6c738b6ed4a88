"""What `memoize` returns: a function whose calls are looked up in a Dict, or a method of that kind."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import CellType, CodeType, ModuleType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from ._dict import Dict
from ._pickle import restore
from .errors import Error, InvalidError, SerializationError, shortened_traceback

P = ParamSpec("P")
P2 = ParamSpec("P2")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

MAIN_MODULES = ("__main__", "__mp_main__")
"""A script, and what a child of `multiprocessing` calls it."""
PLAIN_TYPES = (bool, int, float, str, bytes, type(None))


class CacheInfo(NamedTuple):
    """What ``cache_info()`` of a memoized function returns: its calls in this process.

    ``misses`` called the function, and ``hits`` returned a stored result.
    """

    hits: int
    misses: int


class Dual(Protocol[P, R_co]):
    """Blocks, or is awaited as ``aio``."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...


class AsyncDual(Protocol[P, R_co]):
    """Is awaited, also as ``aio``."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...
    def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...


class Keyed(Protocol[P]):
    """What memoized functions of both kinds have."""

    def key(self, /, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, ...]:
        """Return the key of a call with these arguments. No request."""
        ...

    def cache_info(self) -> CacheInfo:
        """Return how many calls in this process found a result, and how many computed one. No request."""
        ...


class MemoizedStatic(Keyed[P], Dual[P, R_co], Protocol[P, R_co]):
    """A memoized function that is not bound to instances."""

    @property
    def refresh(self) -> Dual[P, R_co]:
        """Compute the result of a call again, store and return it: see ``refresh`` of `Dict.get_or_compute`."""
        ...

    @property
    def forget(self) -> Dual[P, bool]:
        """Remove the result of a call, and return whether there was one. 2 requests, or 1.

        A call that is being computed stores its result afterwards. `refresh` waits for it.
        """
        ...


class Memoized(MemoizedStatic[P, R_co], Protocol[P, R_co]):
    """A memoized function."""

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Memoized[P, R_co]: ...
    @overload
    def __get__(
        self: Memoized[Concatenate[S, P2], R_co], instance: S, owner: type | None = None
    ) -> Memoized[P2, R_co]: ...


class AsyncMemoized(Keyed[P], AsyncDual[P, R_co], Protocol[P, R_co]):
    """A memoized coroutine function, whose ``refresh`` and ``forget`` are awaited as it is."""

    @property
    def refresh(self) -> AsyncDual[P, R_co]:
        """As of `Memoized`."""
        ...

    @property
    def forget(self) -> AsyncDual[P, bool]:
        """As of `Memoized`."""
        ...

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> AsyncMemoized[P, R_co]: ...
    @overload
    def __get__(
        self: AsyncMemoized[Concatenate[S, P2], R_co], instance: S, owner: type | None = None
    ) -> AsyncMemoized[P2, R_co]: ...


class Binding(Enum):
    """What a memoized function in the body of a class is called with first."""

    INSTANCE = "instance"
    CLASS = "class"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Keys:
    """Makes the keys of a function's calls.

    Args:
        name: What identifies the function in all processes.
        function: The function.
        custom: What the caller of `memoize` passed as ``key``.
        ignored: Names of arguments that are not part of the key.
        version: A part of the key.
    """

    name: str
    function: Callable[..., Any]
    custom: Callable[..., Any] | None
    ignored: frozenset[str]
    version: str | None

    @property
    def signature(self) -> inspect.Signature:
        # Not kept: a recursive function that is being unpickled has no defaults yet.
        return inspect.signature(self.function)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """Return the arguments that count; an ignored one has the same value in every call.

        Raises:
            TypeError: The function cannot be called with these arguments.
        """
        signature = self.signature
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        for argument in self.ignored & bound.arguments.keys():
            bound.arguments[argument] = _IGNORED.get(signature.parameters[argument].kind)
        keywords = _keywords(bound)
        if keywords is not None:
            passed = bound.arguments[keywords]
            bound.arguments[keywords] = {name: passed[name] for name in passed if name not in self.ignored}
        return bound

    def key(self, bound: inspect.BoundArguments) -> tuple[Any, ...]:
        """Return the key of a call.

        Raises:
            TypeError: An argument is not hashable.
        """
        parts = list(self.parts(bound))
        for argument, value in parts:
            self._require_hashable(argument, value)
        if self.custom is None:
            key = call_key(self.name, bound, owner=owner_of(self.function))
        else:
            # The last part of every other key is a tuple or a version.
            key = self.name, tuple(value for _, value in parts), None
        captured = tuple(
            content for content in contents(free_variables(self.function).values()) if isinstance(content, PLAIN_TYPES)
        )
        if captured or self.version is not None:
            key = *key, captured
        return key if self.version is None else (*key, self.version)

    def parts(self, bound: inspect.BoundArguments) -> Iterator[tuple[str, Any]]:
        """Yield what the key is made of, by the names of the arguments."""
        for owner in owner_of(self.function):
            yield "self", owner
        if self.custom is not None:
            yield "key", self.custom(*bound.args, **bound.kwargs)
            return
        for argument, value in bound.arguments.items():
            yield argument, tuple(value.items()) if argument == _keywords(bound) else value

    def _require_hashable(self, argument: str, value: Any) -> None:
        try:
            hash(value)
        except TypeError as error:
            # As of any other key that is not hashable.
            raise TypeError(
                f"{self.name}: {self.described(argument)} cannot be part of a key ({error}): use a hashable value, "
                "such as a tuple for a list, or memoize(key=...) or memoize(ignore=...)"
            ) from error

    def described(self, argument: str) -> str:
        """Return how messages refer to a part of the key."""
        return f"the argument {argument!r}" if self.custom is None or argument == "self" else "what key= returned"


_IGNORED: dict[Any, Any] = {inspect.Parameter.VAR_POSITIONAL: (), inspect.Parameter.VAR_KEYWORD: {}}


class Counts:
    """The hits and misses of a function in this process, from all of its threads."""

    # A signal handler may call a memoized function while its thread is inside.
    lock = threading.RLock()

    def __init__(self) -> None:
        self._hits = self._misses = 0

    def add(self, *, hit: bool) -> None:
        with Counts.lock:
            self._hits += hit
            self._misses += not hit

    def info(self) -> CacheInfo:
        with Counts.lock:
            return CacheInfo(self._hits, self._misses)


def _renew_lock() -> None:
    """Replace the lock in a forked child, where the thread that held it does not exist."""
    Counts.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@dataclass(frozen=True, slots=True)
class Target:
    """A memoized function, whatever it is bound to.

    Args:
        d: Where the results are.
        keys: The keys of its calls.
        binding: What it is called with first.
        options: Arguments of `Dict.get_or_compute`.
        counts: Its calls in this process.
    """

    d: Dict[Any, Any]
    keys: Keys
    binding: Binding
    options: Mapping[str, Any]
    counts: Counts = field(default_factory=Counts)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False) -> Any:
        with shortened_traceback(), _Call(self, args, kwargs) as call:
            return self.d.get_or_compute(call.key, call.compute, refresh=refresh, **self.options)

    async def call_aio(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, refresh: bool = False) -> Any:
        with shortened_traceback(), _Call(self, args, kwargs) as call:
            return await self.d.get_or_compute.aio(call.key, call.compute_aio, refresh=refresh, **self.options)

    def forget(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self.d.discard(self.keys.key(self.keys.bind(args, kwargs)))

    async def forget_aio(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return await self.d.discard.aio(self.keys.key(self.keys.bind(args, kwargs)))


class _Call:
    """One call: counts it, and names the argument where the key cannot be stored."""

    def __init__(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._target = target
        self._args = args
        self._kwargs = kwargs
        self._bound = target.keys.bind(args, kwargs)
        self._computed = False
        self.key = target.keys.key(self._bound)

    def compute(self) -> Any:
        result = self.compute_aio()
        if inspect.iscoroutine(result):
            result.close()
            name = self._target.keys.function.__name__
            raise InvalidError(
                f"{self._target.keys.name} returned a coroutine, which a blocking call cannot await: await "
                f"`{name}.aio`, or make the wrapper of the coroutine function one itself"
            )
        return result

    def compute_aio(self) -> Any:
        self._computed = True
        return self._target.keys.function(*self._args, **self._kwargs)

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or self._computed:
            self._target.counts.add(hit=not self._computed)
        elif isinstance(error, (InvalidError, SerializationError)):
            self._name_argument(error)

    def _name_argument(self, error: Error) -> None:
        """Raise the error again with the name of the argument that cannot be part of a key."""
        d, keys = self._target.d, self._target.keys
        opened = d._entries or d._async_view._entries
        if opened is None:
            return
        for argument, value in keys.parts(self._bound):
            try:
                opened[1].codec.keys.encode(value)
            except Error as reason:
                raise type(reason)(
                    f"{keys.name}: {keys.described(argument)} cannot be part of a key. {reason}"
                ) from error


class _Operation:
    """A method of a memoized function: called as the function is, or awaited as ``aio``."""

    __slots__ = ("_bound", "_call", "_call_aio", "_is_async")

    def __init__(
        self,
        call: Callable[..., Any],
        call_aio: Callable[..., Coroutine[Any, Any, Any]],
        bound: tuple[Any, ...],
        *,
        is_async: bool,
    ) -> None:
        self._call = call
        self._call_aio = call_aio
        self._bound = bound
        self._is_async = is_async

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        call = self._call_aio if self._is_async else self._call
        return call((*self._bound, *args), kwargs)

    async def aio(self, /, *args: Any, **kwargs: Any) -> Any:
        return await self._call_aio((*self._bound, *args), kwargs)


class MemoizedFunction:
    """`Memoized` or `AsyncMemoized`, for functions and for bound methods."""

    __slots__ = ("__dict__", "__weakref__", "_bound", "_target")

    # `inspect.iscoroutinefunction` recognises a function by these and by its code.
    __defaults__ = None
    __kwdefaults__ = None

    def __init__(self, target: Target, bound: tuple[Any, ...] = ()) -> None:
        functools.update_wrapper(self, target.keys.function)
        self.__qualname__ = target.keys.function.__qualname__
        self._target = target
        self._bound = bound

    @property
    def __code__(self) -> CodeType:
        call: Any = Target.call_aio if self._is_async else Target.call
        code: CodeType = call.__code__
        return code

    @property
    def __signature__(self) -> inspect.Signature:
        signature = self._target.keys.signature
        return signature.replace(parameters=list(signature.parameters.values())[len(self._bound) :])

    @property
    def _is_async(self) -> bool:
        return inspect.iscoroutinefunction(self._target.keys.function)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        call = self._target.call_aio if self._is_async else self._target.call
        return call((*self._bound, *args), kwargs)

    async def aio(self, /, *args: Any, **kwargs: Any) -> Any:
        return await self._target.call_aio((*self._bound, *args), kwargs)

    def key(self, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        keys = self._target.keys
        return keys.key(keys.bind((*self._bound, *args), kwargs))

    def cache_info(self) -> CacheInfo:
        return self._target.counts.info()

    @property
    def refresh(self) -> _Operation:
        target = self._target
        call, call_aio = functools.partial(target.call, refresh=True), functools.partial(target.call_aio, refresh=True)
        return _Operation(call, call_aio, self._bound, is_async=self._is_async)

    @property
    def forget(self) -> _Operation:
        return _Operation(self._target.forget, self._target.forget_aio, self._bound, is_async=self._is_async)

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        first = {Binding.INSTANCE: instance, Binding.CLASS: owner, Binding.NOTHING: None}[self._target.binding]
        return self if first is None or self._bound else MemoizedFunction(self._target, (first,))

    def __repr__(self) -> str:
        of = f" of {self._bound[0]!r}" if self._bound else ""
        return f"<memoized {self._target.keys.name}{of}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoizedFunction):
            return NotImplemented
        return self._target is other._target and list(map(id, self._bound)) == list(map(id, other._bound))

    def __hash__(self) -> int:
        return hash((id(self._target), *map(id, self._bound)))

    def __reduce__(self) -> Any:
        # By its name, as any function.
        return (getattr, (self._bound[0], self._target.keys.function.__name__)) if self._bound else self.__qualname__


def pickle_by_value(function: Callable[..., Any]) -> None:
    """Make cloudpickle pickle a memoized function with its code where it would do so with the function itself."""
    if _is_importable(function):
        return
    import cloudpickle

    reducers: Any = cloudpickle.CloudPickler.dispatch_table
    reducers[MemoizedFunction] = _reduce


def _reduce(memoized: MemoizedFunction) -> Any:
    target, keys = memoized._target, memoized._target.keys
    if memoized._bound or _is_importable(keys.function):
        return memoized.__reduce__()
    made_by = keys.custom, sorted(keys.ignored), keys.version, target.binding.value, dict(target.options)
    return restore, ("MemoizedFunction", target.d, keys.name, keys.function, *made_by)


def unpickle_memoized(
    d: Dict[Any, Any],
    name: str,
    function: Callable[..., Any],
    custom: Callable[..., Any] | None,
    ignored: Iterable[str],
    version: str | None,
    binding: str,
    options: dict[str, Any],
) -> MemoizedFunction:
    """Return the function that cloudpickle has pickled with its code."""
    keys = Keys(name, function, custom, frozenset(ignored), version)
    return MemoizedFunction(Target(d, keys, Binding(binding), options))


def _is_importable(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", None) not in MAIN_MODULES and "<locals>" not in function.__qualname__


def owner_of(function: Any) -> tuple[Any, ...]:
    """Return the instance or class that a bound method is called with; nothing for a function."""
    owner = getattr(function, "__self__", None)
    return () if owner is None or isinstance(owner, ModuleType) else (owner,)


def free_variables(function: Callable[..., Any]) -> dict[str, CellType]:
    """Return the variables of enclosing functions; ``super()`` uses ``__class__``, which the name determines."""
    code, cells = code_of(function), getattr(inspect.unwrap(function), "__closure__", None)
    names = () if code is None else code.co_freevars
    return {name: cell for name, cell in zip(names, cells or (), strict=True) if name != "__class__"}


def code_of(function: Callable[..., Any]) -> CodeType | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code if isinstance(code, CodeType) else None


def contents(cells: Iterable[CellType]) -> Iterator[object]:
    for cell in cells:
        # That of a recursive function is empty until it has been decorated.
        with suppress(ValueError):
            yield cell.cell_contents


def call_key(name: str, bound: inspect.BoundArguments, *, owner: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """Return one key for all spellings of a call: f(1, b=2), f(1, 2) and f(b=2, a=1) are the same."""
    bound.apply_defaults()
    return name, (*owner, *bound.args), tuple(sorted(bound.kwargs.items()))


def _keywords(bound: inspect.BoundArguments) -> str | None:
    """Return the name of the argument that takes any keywords, if there is one."""
    for argument, parameter in bound.signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return argument
    return None


CacheInfo.__module__ = "s3dict"
