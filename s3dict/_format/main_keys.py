"""Keys of classes of ``__main__``: enum members and frozen dataclasses, as tuples of names and values.

A pickle of such a class contains its definition, which differs between processes, so its bytes cannot name an entry.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum, Flag
from typing import Any

from ..errors import DeserializationError, InvalidError
from .main_objects import find_main_object, is_generated, is_main_object


def member_content(member: Enum) -> tuple[object, ...]:
    """Return the qualified name of the enum, and the member's name; of a flag, which may be a combination, its value.

    Raises:
        InvalidError: The enum is not at the top level of ``__main__``, or its members have their own equality.
    """
    kind = type(member)
    if not is_main_object(kind) or kind.__eq__ is not object.__eq__:
        raise _unstable(kind)
    return kind.__qualname__, member.value if isinstance(member, Flag) else member.name


def dataclass_content(key: Any) -> tuple[object, ...]:
    """Return the qualified name of the class, and the names and values of the fields.

    Raises:
        InvalidError: The class is not a frozen dataclass at the top level of ``__main__`` that compares all its fields.
    """
    kind = type(key)
    if not is_main_object(kind) or not _is_comparable(kind):
        raise _unstable(kind)
    return kind.__qualname__, *((field.name, getattr(key, field.name)) for field in fields(kind))


def _is_comparable(kind: Any) -> bool:
    """Return whether equal objects have equal fields, and the other way round."""
    params = vars(kind).get("__dataclass_params__")
    if params is None or not (params.frozen and params.eq and all(field.compare for field in fields(kind))):
        return False
    return is_generated(kind.__eq__)


def _unstable(kind: type) -> InvalidError:
    return InvalidError(
        f"A {kind.__qualname__!r} of __main__ cannot be a key: its pickle differs between processes. Move the class "
        "into a module, or use an Enum or a frozen dataclass at the top level of the script"
    )


def decode_member(name: str, member: str | int) -> Any:
    """Return the reader's own member. Raises DeserializationError when it does not exist."""
    kind = find_main_object(name)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(member) if issubclass(kind, Flag) else kind[str(member)]
        except (KeyError, ValueError):
            pass
    raise _missing(f"{name}.{member}")


def decode_dataclass(name: str, content: list[Any]) -> Any:
    """Return an object of the reader's own class, without calling it. Raises DeserializationError when it differs."""
    kind = find_main_object(name)
    if not isinstance(kind, type) or not _is_comparable(kind):
        raise _missing(name)
    if [field.name for field in fields(kind)] != [field for field, _ in content]:
        raise _missing(f"{name} with the fields {', '.join(field for field, _ in content)}")
    key: Any = object.__new__(kind)
    for field, value in content:
        object.__setattr__(key, field, value)
    return key


def _missing(name: str) -> DeserializationError:
    return DeserializationError(
        f"The key is a {name} of the script that wrote it, which does not exist in this one: move it into a module"
    )
