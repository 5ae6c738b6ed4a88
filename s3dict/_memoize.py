"""memoize: a function whose results are kept in a Dict."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from ._config import DEFAULT_LEASE
from ._dict import Dict
from .errors import InvalidError

P = ParamSpec("P")
R = TypeVar("R")


def memoize(
    d: Dict[Any, Any], *, lease: float = DEFAULT_LEASE, ttl: float | timedelta | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keeps a function's results in `d`: of all callers in all processes with equal arguments one computes.

    ::

        @memoize(Dict.from_name("thumbnails", create_if_missing=True, ttl=timedelta(days=1)))
        def thumbnail(url: str, width: int = 200) -> bytes: ...

    Functions and coroutine functions. A result stays for the dict's ttl after it was last asked for. The key is the
    function's qualified name and its arguments, defaults included: they have to be hashable, and are best of types
    that need no pickling. ``function.key(...)`` gives the key of a call, so ``d.pop(function.key("a"))`` forgets it.

    Functions of different programs that share `d` must not have the same name: all of what is run as a script is called
    ``__main__``.

    Args:
        d: Where the results are kept; several functions may share it.
        lease: Seconds after which a caller that has died is replaced: see `Dict.get_or_compute`, which also says how
            many requests a call makes.
        ttl: Seconds or timedelta for which a result is kept, however often it is asked for: at most the dict's ttl.
            None keeps it for the dict's ttl after it was last asked for.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if function.__name__ == "<lambda>":
            raise InvalidError(
                "A lambda cannot be memoized: all of a module's have the same name. Give it one with def"
            )
        signature = inspect.signature(function)

        def key(*args: P.args, **kwargs: P.kwargs) -> tuple[Any, ...]:
            return _key(function, signature.bind(*args, **kwargs))

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = d.get_or_compute(key(*args, **kwargs), lambda: function(*args, **kwargs), lease, ttl=ttl)
            return result

        @functools.wraps(function)
        async def call_aio(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await d.get_or_compute.aio(key(*args, **kwargs), lambda: function(*args, **kwargs), lease, ttl=ttl)

        wrapper: Any = call_aio if inspect.iscoroutinefunction(function) else call
        wrapper.key = key
        memoized: Callable[P, R] = wrapper
        return memoized

    return decorate


def _key(function: Callable[..., Any], bound: inspect.BoundArguments) -> tuple[Any, ...]:
    """One key for all spellings of a call: f(1, b=2), f(1, 2) and f(b=2, a=1) are the same."""
    bound.apply_defaults()
    # Methods of built-in types have no module.
    name = f"{getattr(function, '__module__', 'builtins')}.{function.__qualname__}"
    return name, bound.args, tuple(sorted(bound.kwargs.items()))
