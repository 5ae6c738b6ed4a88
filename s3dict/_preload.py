"""Import what calls load when they first need it, where a signal handler may interrupt them and use a handle too.

A module whose import is interrupted is only complete when the handler returns, so the handler could not use it. In a
thread the import goes on, and the handler waits for its end.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from time import monotonic, sleep

_MAX_SECONDS = 30.0
"""A handler that interrupts the start of the thread would wait for itself."""
_COMMON = (
    *("encodings.idna", "logging", "s3dict._core.bulk", "s3dict._core.compute", "s3dict._core.iteration"),
    *("s3dict._core.locks", "s3dict._format.numeric_keys", "s3dict._format.pickling", "s3dict._lock"),
    *("s3dict._stores.shared.rate_limit",),
)
_BOTO = ("boto3.s3.inject", "boto3.session", "botocore.config", "s3dict._stores.boto.blocking")
_OBSTORE = (
    *("s3dict._stores.boto.credentials", "s3dict._stores.obstore.blocking", "s3dict._stores.obstore.clients"),
    *("s3dict._stores.obstore.credentials", "s3dict._stores.obstore.server_clock"),
)
_MODULES = {"boto3": _COMMON + _BOTO, "obstore": _COMMON + _OBSTORE, "memory": _COMMON}
"""Not boto3 for obstore, which rarely needs it: it would triple the time of the first call."""

_loaded: dict[str, list[str]] = {}
"""By driver, what has been imported. No lock and no event, which a handler might find held by its own thread."""

if hasattr(os, "register_at_fork"):
    # A forked child has no such thread.
    os.register_at_fork(after_in_child=_loaded.clear)


def load_for_signal_handlers(driver: str) -> None:
    """Import the modules of a driver, if signal handlers of the program may run in this thread."""
    process, names, imported = os.getpid(), _MODULES[driver], _loaded.get(driver)
    if imported is None:
        if not _has_signal_handlers() or _is_importing():
            return
        imported = _loaded[driver] = []
        try:
            threading.Thread(target=_load, args=(names, imported), name="s3dict-imports").start()
        except RuntimeError:
            # At the end of the process, and in subinterpreters without threads.
            imported.extend(names)
    deadline = monotonic() + _MAX_SECONDS
    # A handler may fork here.
    while len(imported) < len(names) and monotonic() < deadline and os.getpid() == process:
        sleep(0.001)


def _has_signal_handlers() -> bool:
    # It has set handlers only where it has imported the module.
    signal = sys.modules.get("signal")
    if signal is None or threading.current_thread() is not threading.main_thread():
        return False
    handlers = map(signal.getsignal, signal.valid_signals())
    return any(callable(handler) and handler is not signal.default_int_handler for handler in handlers)


def _is_importing() -> bool:
    """Return whether this thread may itself be importing what the other would wait for."""
    specs = (getattr(module, "__spec__", None) for module in list(sys.modules.values()))
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _load(names: Sequence[str], imported: list[str]) -> None:
    for name in names:
        # What cannot be imported is reported where it is needed.
        with suppress(Exception):
            import_module(name)
        imported.append(name)
