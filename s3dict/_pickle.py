"""The one function that pickles of s3dict's objects refer to.

Its module and name never change, and its arguments are built-in types (and what the user put into an entry): modules
can move and classes can change while stored pickles stay readable. What pickles of 0.1 refer to is in `_legacy`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# By name, as pickle itself finds a class: an import would have to wait for the call, since all of these import this.
_CONSTRUCTORS = {
    "AsyncDict": ("_dict", "unpickle_async_dict"),
    "AsyncView": ("_aio", "unpickle_async_view"),
    "Client": ("_client", "unpickle_client"),
    "Code": ("_format.main_objects", "load_code"),
    "Counter": ("_counter", "unpickle_counter"),
    "Dict": ("_dict", "unpickle_dict"),
    "DictInfo": ("_info", "DictInfo"),
    "DictStats": ("_info", "DictStats"),
    "DictMapping": ("_mapping", "DictMapping"),
    "Entry": ("_info", "Entry"),
    "MainObject": ("_format.main_objects", "load_main_object"),
    "MainTyping": ("_format.main_objects", "load_main_typing"),
    "MainTypeVar": ("_format.main_objects", "load_main_type_variable"),
    "CachedFunction": ("_format.main_objects", "load_cached_function"),
    "EnumState": ("_format.main_objects", "set_enum_state"),
    "MemoizedFunction": ("_memoized", "unpickle_memoized"),
    "EphemeralDict": ("_dict", "unpickle_ephemeral"),
    "Exception": ("_format.exceptions", "load_exception"),
    "HeldLock": ("_lock", "unpickle_held"),
    "Lock": ("_lock", "unpickle_lock"),
    "LockHolder": ("_lock", "LockHolder"),
    "Semaphore": ("_lock", "unpickle_semaphore"),
}


def restore(kind: str, *state: Any) -> Any:
    """Return the object that a pickle contains.

    Args:
        kind: One of the names above. A name may be added, and none is ever removed.
        state: The arguments of its constructor.
    """
    module, name = _CONSTRUCTORS[kind]
    return getattr(import_module(f".{module}", __package__), name)(*state)
