"""Methods that are called plainly or as ``.aio``: one implementation for sync and async.

The body is written once, as ``async def`` over a store. ``d.get(k)`` runs it to its end on the caller's thread, which
works because a blocking store never suspends. ``d.get.aio`` is the body itself, bound to the object's async view, whose
store is for asyncio: a coroutine function for `inspect`, frameworks and type checkers.
"""

from __future__ import annotations

import atexit
import functools
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from types import CodeType, CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakSet

from ._nested import QuietGenerator
from ._stores.shared.threads import iterate_blocking, run_blocking
from .errors import BlockingCallWarning, Error, InvalidError, shorten_traceback

if TYPE_CHECKING:
    from inspect import Signature

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
K_contra = TypeVar("K_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)

_PACKAGE = __file__.removesuffix("_aio.py")


class HasAsyncView(Protocol):
    """What these descriptors need of the object that they are on."""

    @property
    def _aio(self) -> bool:
        """Whether this is the async view."""
        ...

    @property
    def _async_view(self) -> Any:
        """The same object with a store for asyncio."""
        ...


def unpickle_async_view(instance: HasAsyncView) -> Any:
    """Return the object that a pickled ``lock.acquire.aio`` is a method of."""
    return instance._async_view


_CO_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`."""
_reported = threading.Lock()
"""Acquired by the first blocking call inside of an event loop, which reports it."""


def report_blocking_call() -> None:
    """Warn, once in a process, of a blocking call in a thread that runs an event loop."""
    # Nothing is imported for the check: where a loop is running, asyncio is loaded.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None or not _reported.acquire(blocking=False):
        return
    if _in_ipython():
        # A notebook runs its cells inside of a loop, where a blocking call is what the user wants.
        return
    warnings.warn(
        "A blocking call of s3dict stops the running event loop until it returns: await the method's `.aio`, or use "
        "`async with` and `async for`. This is reported once; to turn it off, ignore "
        "s3dict.errors.BlockingCallWarning",
        BlockingCallWarning,
        stacklevel=_stacklevel_of_caller(),
    )


def _in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _stacklevel_of_caller() -> int:
    """Return the stacklevel with which `report_blocking_call` refers to the line of the user."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def require_plain(function: Callable[..., T], method: str) -> Callable[..., T]:
    """Return the function for a blocking call, which cannot await. Raises InvalidError for a coroutine function."""
    message = f"{method} was passed a coroutine function: await `{method}.aio` instead, or pass a plain function"
    if _is_coroutine_function(function):
        raise InvalidError(message)

    def call(*args: Any) -> T:
        result = function(*args)
        if isinstance(result, CoroutineType):
            result.close()
            raise InvalidError(message)
        return result

    return call


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    if type(function) is FunctionType and not function.__dict__:
        return bool(function.__code__.co_flags & _CO_COROUTINE)
    # Partial functions, methods, and what is marked as a coroutine function.
    import inspect

    return inspect.iscoroutinefunction(function)


class _BoundDual:
    """What both kinds of bound methods have in common: they look like any bound method, and have an ``aio``."""

    __slots__ = ("__self__", "_descriptor")

    def __init__(self, descriptor: _Descriptor, instance: HasAsyncView) -> None:
        self._descriptor = descriptor
        self.__self__ = instance

    # `inspect`, `help` and `unittest.mock` recognise a bound method, and find its signature, by its class.
    __class__ = property(lambda _: MethodType)  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def __func__(self) -> Any:
        return self._descriptor.function

    @property
    def __name__(self) -> str:
        return self._descriptor.body.__name__

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._descriptor.body.__doc__

    @property
    def __globals__(self) -> Any:
        body: Any = self._descriptor.body
        return body.__globals__

    def __repr__(self) -> str:
        return f"<bound method {self._descriptor.body.__qualname__} of {self.__self__!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        if not issubclass(type(other), _BoundDual):
            return NotImplemented
        bound: Any = other
        return self.__self__ is bound.__self__ and self._descriptor is bound._descriptor

    def __hash__(self) -> int:
        return hash((id(self.__self__), self._descriptor.body))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__name__)


# The subclasses have no docstrings: those would be the `__doc__` of each method.
class DualMethod(_BoundDual, Generic[P, R]):  # pyright: ignore[reportIncompatibleMethodOverride]
    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        report_blocking_call()
        try:
            result: R = run_blocking(self._descriptor.body(self.__self__, *args, **kwargs))
        except (Error, KeyError) as error:
            shorten_traceback(error)
            raise
        return result

    @property
    def aio(self) -> Callable[P, Coroutine[Any, Any, R]]:
        """The coroutine function."""
        return MethodType(self._descriptor.function_of_view, self.__self__._async_view)


class DualIterator(_BoundDual, Generic[P, R]):  # pyright: ignore[reportIncompatibleMethodOverride]
    __slots__ = ()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        report_blocking_call()
        iterator = iterate_blocking(self._descriptor.body(self.__self__, *args, **kwargs))
        _unfinished.add(iterator)
        return iterator

    @property
    def aio(self) -> Callable[P, AsyncGenerator[R, None]]:
        """The asynchronous generator function."""
        return MethodType(self._descriptor.function_of_view, self.__self__._async_view)


class _FunctionLike:
    """A function of an async view, which `inspect` recognises by its code as what the body is."""

    def __init__(self, body: Callable[..., Any]) -> None:
        functools.update_wrapper(self, body)
        # A caller that follows this would call the body instead, without what it is bound to.
        del self.__wrapped__  # type: ignore[attr-defined]
        self._body: Any = body

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @property
    def __code__(self) -> CodeType:
        code: CodeType = self._body.__code__
        return code

    @property
    def __defaults__(self) -> Any:
        return self._body.__defaults__

    @property
    def __kwdefaults__(self) -> Any:
        return self._body.__kwdefaults__

    @property
    def __globals__(self) -> Any:
        return self._body.__globals__


class _CoroutineFunction(_FunctionLike):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        # Wrong arguments are a TypeError of the call, as those of any coroutine function.
        self._body(*args, **kwargs).close()
        coroutine: Any = self._run(*args, **kwargs)
        coroutine.__qualname__ = self._body.__qualname__
        return coroutine

    async def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._body(*args, **kwargs)
        except (Error, KeyError) as error:
            shorten_traceback(error)
            raise


class _IteratorFunction(_FunctionLike):
    def __call__(self, /, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        return QuietGenerator(self._body(*args, **kwargs))


_unfinished: WeakSet[Any] = WeakSet()


@atexit.register
def _close_unfinished() -> None:
    """Close the iterators that are left at exit: later, when modules are torn down, they could not end any more."""
    for iterator in list(_unfinished):
        # One that is running belongs to a daemon thread, which ends with the process.
        with suppress(Exception):
            iterator.close()


class _Descriptor:
    """What both decorators have in common: on the class, they give a function; on an instance, a bound method."""

    def __init__(self, body: Callable[..., Any]) -> None:
        self.body = body
        self.__doc__ = body.__doc__

    # `unittest.mock` decides by the class of what is in the class's namespace whether a method takes self.
    __class__ = property(lambda _: FunctionType)  # pyright: ignore[reportIncompatibleMethodOverride]

    def __getattr__(self, name: str) -> Any:
        # `mock.patch.object` finds the descriptor, and looks whether it is a coroutine function.
        if name in ("__code__", "__defaults__", "__kwdefaults__", "__name__", "__qualname__", "__signature__"):
            return getattr(self.function, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    if not TYPE_CHECKING:

        def __call__(self, instance: HasAsyncView, /, *args: Any, **kwargs: Any) -> Any:
            return self.function(instance, *args, **kwargs)

    @functools.cached_property
    def function(self) -> Any:
        """The method as a function of the instance, ``Dict.put``, whose ``aio`` is a coroutine function."""
        function = self._with_globals_of_body(self._blocking())
        function.aio = self._with_globals_of_body(self._asynchronous())
        for made in (function, function.aio):
            functools.update_wrapper(made, self.body)
            # A caller that follows this would call the body instead, which is a coroutine function.
            del made.__wrapped__
            made.__signature__ = self._signature()
        return function

    @functools.cached_property
    def function_of_view(self) -> _FunctionLike:
        """What ``d.put.aio`` is a method of."""
        return _CoroutineFunction(self.body)

    def _with_globals_of_body(self, function: Any) -> Any:
        """Return the function with the names by which `typing.get_type_hints` finds the types of the body."""
        body: Any = self.body
        return FunctionType(function.__code__, body.__globals__, closure=function.__closure__)

    def _blocking(self) -> Any:
        def function(instance: HasAsyncView, /, *args: Any, **kwargs: Any) -> Any:
            return self._bound(instance)(*args, **kwargs)

        return function

    def _asynchronous(self) -> Any:
        async def aio(instance: HasAsyncView, /, *args: Any, **kwargs: Any) -> Any:
            return await self._bound(instance).aio(*args, **kwargs)

        return aio

    def _signature(self) -> Signature:
        import inspect

        return inspect.signature(self.body)

    def _bound(self, instance: HasAsyncView) -> Any:
        raise NotImplementedError


class UnboundMethod(Protocol):
    """``Dict.put``: a function of a Dict."""

    def __call__(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any: ...
    @property
    def aio(self) -> Callable[..., Any]: ...


class dual_method(_Descriptor, Generic[P, R]):  # noqa: N801 (used as a decorator)
    """Make a method of an ``async def``, which can be called plainly or as ``.aio``."""

    def __init__(self, body: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        super().__init__(body)

    if TYPE_CHECKING:
        # pyright compares the descriptor itself with the method of a protocol.
        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __get__(self, instance: None, owner: type) -> UnboundMethod: ...
    @overload
    def __get__(self, instance: HasAsyncView, owner: type) -> DualMethod[P, R]: ...
    def __get__(self, instance: HasAsyncView | None, owner: type) -> Any:
        if instance is None:
            return self.function
        return MethodType(self.function_of_view, instance) if instance._aio else DualMethod(self, instance)

    def _bound(self, instance: HasAsyncView) -> DualMethod[P, R]:
        return DualMethod(self, instance)


class dual_iterator(_Descriptor, Generic[P, R]):  # noqa: N801 (used as a decorator)
    """Make a method of an asynchronous generator, which can be iterated over plainly or as ``.aio``."""

    def __init__(self, body: Callable[Concatenate[Any, P], AsyncGenerator[R, None]]) -> None:
        super().__init__(body)

    if TYPE_CHECKING:

        def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]: ...

    @overload
    def __get__(self, instance: None, owner: type) -> UnboundMethod: ...
    @overload
    def __get__(self, instance: HasAsyncView, owner: type) -> DualIterator[P, R]: ...
    def __get__(self, instance: HasAsyncView | None, owner: type) -> Any:
        if instance is None:
            return self.function
        return MethodType(self.function_of_view, instance) if instance._aio else DualIterator(self, instance)

    def _bound(self, instance: HasAsyncView) -> DualIterator[P, R]:
        return DualIterator(self, instance)

    @functools.cached_property
    def function_of_view(self) -> _FunctionLike:
        return _IteratorFunction(self.body)

    def _asynchronous(self) -> Any:
        async def aio(instance: HasAsyncView, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async with aclosing(self._bound(instance).aio(*args, **kwargs)) as items:
                async for item in items:
                    yield item

        return aio

    def _signature(self) -> Signature:
        signature = super()._signature()
        returned = str(signature.return_annotation).replace("AsyncGenerator", "Iterator").replace(", None]", "]")
        return signature.replace(return_annotation=returned)


class AioGet(Protocol[K_contra, V_co]):
    @overload
    def __call__(self, key: K_contra, default: None = None) -> Coroutine[Any, Any, V_co | None]: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> Coroutine[Any, Any, V_co | T]: ...


class Get(Protocol[K_contra, V_co]):
    """``d.get(key)`` may be None; ``d.get(key, default)`` is a value or the default."""

    @overload
    def __call__(self, key: K_contra, default: None = None) -> V_co | None: ...
    @overload
    def __call__(self, key: K_contra, default: T) -> V_co | T: ...
    @property
    def aio(self) -> AioGet[K_contra, V_co]: ...


class AioPop(Protocol[K_contra, V_co]):
    @overload
    def __call__(self, key: K_contra, *, if_version: str | None = None) -> Coroutine[Any, Any, V_co]: ...
    @overload
    def __call__(
        self, key: K_contra, default: T, *, if_version: str | None = None
    ) -> Coroutine[Any, Any, V_co | T]: ...


class Pop(Protocol[K_contra, V_co]):
    """``d.pop(key)`` is a value, or raises; ``d.pop(key, default)`` is a value or the default."""

    @overload
    def __call__(self, key: K_contra, *, if_version: str | None = None) -> V_co: ...
    @overload
    def __call__(self, key: K_contra, default: T, *, if_version: str | None = None) -> V_co | T: ...
    @property
    def aio(self) -> AioPop[K_contra, V_co]: ...


if TYPE_CHECKING:

    class get_method(Generic[K, V]):  # noqa: N801 (used as a decorator)
        """`dual_method` for ``get``, whose result depends on whether a default is passed."""

        def __init__(self, body: Callable[[Any, K, Any], Coroutine[Any, Any, V | None]]) -> None: ...
        @overload
        def __call__(self, key: K, default: None = None) -> V | None: ...
        @overload
        def __call__(self, key: K, default: T) -> V | T: ...
        def __call__(self, key: K, default: Any = None) -> Any: ...
        @overload
        def __get__(self, instance: None, owner: type) -> UnboundMethod: ...
        @overload
        def __get__(self, instance: HasAsyncView, owner: type) -> Get[K, V]: ...
        def __get__(self, instance: HasAsyncView | None, owner: type) -> Any: ...

    class pop_method(Generic[K, V]):  # noqa: N801 (used as a decorator)
        """`dual_method` for ``pop``, whose result depends on whether a default is passed."""

        def __init__(self, body: Callable[[Any, K, Any], Coroutine[Any, Any, V]]) -> None: ...
        @overload
        def __call__(self, key: K, *, if_version: str | None = None) -> V: ...
        @overload
        def __call__(self, key: K, default: T, *, if_version: str | None = None) -> V | T: ...
        def __call__(self, key: K, default: Any = None, *, if_version: str | None = None) -> Any: ...
        @overload
        def __get__(self, instance: None, owner: type) -> UnboundMethod: ...
        @overload
        def __get__(self, instance: HasAsyncView, owner: type) -> Pop[K, V]: ...
        def __get__(self, instance: HasAsyncView | None, owner: type) -> Any: ...
else:
    get_method = pop_method = dual_method
