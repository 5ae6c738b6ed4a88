"""One text for blocking and asyncio: a coroutine function becomes a method that is called in both ways.

The body is written once, as ``async def`` over a store. Called plainly it runs to its end on the caller's thread,
which it can because a blocking store never suspends; called as ``.aio`` the same body runs on the object's twin,
whose store is for asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from ._stores.shared.threads import run_blocking

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
K_contra = TypeVar("K_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)


class HasAsyncView(Protocol):
    """What these descriptors need of the object they sit on."""

    @property
    def _async_view(self) -> Any:
        """The same object for asyncio."""
        ...


class _BoundDual:
    """A body bound to an object; `help` and `inspect.signature` show the body's own."""

    def __init__(self, body: Callable[..., Any], instance: Any) -> None:
        self._coro_function = body
        self._instance = instance
        self.__doc__ = body.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Does nothing; having it makes this a routine for `help`, which then shows the body's signature."""
        return self

    @property
    def __name__(self) -> str:
        return self._coro_function.__name__

    @property
    def __wrapped__(self) -> MethodType:
        return MethodType(self._coro_function, self._instance)

    def __repr__(self) -> str:
        return f"<method {self._coro_function.__qualname__} of {self._instance!r}>"


class DualMethod(_BoundDual, Generic[P, R]):
    """``d.put``: call it, or call its ``aio`` and await that."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = run_blocking(self._coro_function(self._instance, *args, **kwargs))
        return result

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        coroutine: Coroutine[Any, Any, R] = self._coro_function(self._instance._async_view, *args, **kwargs)
        return coroutine


class DualIterator(_BoundDual, Generic[P, R]):
    """``d.keys``: iterate over its call, or ``async for`` over the call of its ``aio``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return _iterate_blocking(self._coro_function(self._instance, *args, **kwargs))

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        generator: AsyncGenerator[R, None] = self._coro_function(self._instance._async_view, *args, **kwargs)
        return generator


def _iterate_blocking(generator: AsyncGenerator[R, None]) -> Iterator[R]:
    async def step() -> R:
        return await generator.__anext__()

    try:
        while True:
            try:
                item = run_blocking(step())
            except StopAsyncIteration:
                return
            yield item
    finally:
        # Also when the caller breaks out of its loop: what is under way ends here, not at some garbage collection.
        run_blocking(generator.aclose())


class method(Generic[P, R]):  # noqa: N801 (used as a decorator)
    """Makes an ``async def`` of a class callable in both ways."""

    def __init__(self, body: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        self._coro_function = body
        update_wrapper(self, body)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> method[P, R]: ...
    @overload
    def __get__(self, instance: HasAsyncView, owner: type) -> DualMethod[P, R]: ...
    def __get__(self, instance: HasAsyncView | None, owner: type) -> Any:
        return self if instance is None else DualMethod(self._coro_function, instance)


class iterator(Generic[P, R]):  # noqa: N801 (used as a decorator)
    """Makes an asynchronous generator of a class iterable in both ways."""

    def __init__(self, body: Callable[Concatenate[Any, P], AsyncGenerator[R, None]]) -> None:
        self._coro_function = body
        update_wrapper(self, body)  # type: ignore[arg-type]

    @overload
    def __get__(self, instance: None, owner: type) -> iterator[P, R]: ...
    @overload
    def __get__(self, instance: HasAsyncView, owner: type) -> DualIterator[P, R]: ...
    def __get__(self, instance: HasAsyncView | None, owner: type) -> Any:
        return self if instance is None else DualIterator(self._coro_function, instance)


class AioGet(Protocol[K_contra, V_co]):
    @overload
    def __call__(self, key: K_contra) -> Coroutine[Any, Any, V_co | None]: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> Coroutine[Any, Any, V_co | T]: ...


class Get(Protocol[K_contra, V_co]):
    """``d.get(key)`` may be None; ``d.get(key, default)`` is a value or the default."""

    @overload
    def __call__(self, key: K_contra) -> V_co | None: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> V_co | T: ...
    @property
    def aio(self) -> AioGet[K_contra, V_co]: ...


class AioPop(Protocol[K_contra, V_co]):
    @overload
    def __call__(self, key: K_contra) -> Coroutine[Any, Any, V_co]: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> Coroutine[Any, Any, V_co | T]: ...


class Pop(Protocol[K_contra, V_co]):
    """``d.pop(key)`` is a value, or raises; ``d.pop(key, default)`` is a value or the default."""

    @overload
    def __call__(self, key: K_contra) -> V_co: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> V_co | T: ...
    @property
    def aio(self) -> AioPop[K_contra, V_co]: ...


class get_method(Generic[K, V]):  # noqa: N801 (used as a decorator)
    """`method` for ``get``, whose result depends on whether a default is given."""

    def __init__(self, body: Callable[[Any, K, Any], Coroutine[Any, Any, V | None]]) -> None:
        self._coro_function = body
        update_wrapper(self, body)  # type: ignore[arg-type]

    def __get__(self, instance: HasAsyncView | None, owner: type) -> Get[K, V]:
        return self if instance is None else DualMethod(self._coro_function, instance)  # type: ignore[return-value]


class pop_method(Generic[K, V]):  # noqa: N801 (used as a decorator)
    """`method` for ``pop``, whose result depends on whether a default is given."""

    def __init__(self, body: Callable[[Any, K, Any], Coroutine[Any, Any, V]]) -> None:
        self._coro_function = body
        update_wrapper(self, body)  # type: ignore[arg-type]

    def __get__(self, instance: HasAsyncView | None, owner: type) -> Pop[K, V]:
        return self if instance is None else DualMethod(self._coro_function, instance)  # type: ignore[return-value]
