"""Immutable classes with fields: what a frozen, slotted dataclass is, at a fraction of its cost to define.

`dataclasses` compiles six methods for each class when its module is imported, and loads `inspect`: together a third of
the time that importing this package took. A `Record` inherits the same methods, and stores its fields in slots:

    class Version(Record):
        write_id: bytes
        etag: str = ""

Type checkers take it for a frozen dataclass, and so do `dataclasses.replace`, `fields` and `asdict`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import field, replace
    from typing import Any, ClassVar, NoReturn, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda kind: kind

    def field(**options):
        """Return how a field is shown (`repr`), and its `default` or `default_factory`."""
        return _FieldOptions(options)

    def replace(record, /, **changes):
        """Return the record with other values of the named fields."""
        return type(record)(**as_dict(record) | changes)

    def _init_1(set_a):
        def init(self, a):
            set_a(self, a)

        return init

    def _init_2(set_a, set_b):
        def init(self, a, b):
            set_a(self, a)
            set_b(self, b)

        return init

    def _init_3(set_a, set_b, set_c):
        def init(self, a, b, c):
            set_a(self, a)
            set_b(self, b)
            set_c(self, c)

        return init

    def _init_4(set_a, set_b, set_c, set_d):
        def init(self, a, b, c, d):
            set_a(self, a)
            set_b(self, b)
            set_c(self, c)
            set_d(self, d)

        return init

    def _init_5(set_a, set_b, set_c, set_d, set_e):
        def init(self, a, b, c, d, e):
            set_a(self, a)
            set_b(self, b)
            set_c(self, c)
            set_d(self, d)
            set_e(self, e)

        return init

    def _init_6(set_a, set_b, set_c, set_d, set_e, set_f):
        def init(self, a, b, c, d, e, f):
            set_a(self, a)
            set_b(self, b)
            set_c(self, c)
            set_d(self, d)
            set_e(self, e)
            set_f(self, f)

        return init

    _INITS = (_init_1, _init_2, _init_3, _init_4, _init_5, _init_6)
    """Initializers of records with so many fields, which take half the instructions of `Record.__init__`."""

    def _init_of(kind):
        """Return the initializer of a class; None for one that `Record.__init__` is for."""
        names, options = kind.__match_args__, kind._options
        if not 0 < len(names) <= len(_INITS) or any("default_factory" in each for each in options.values()):
            return None
        function = _INITS[len(names) - 1](*kind._setters)
        # Nothing is compiled: the code is that of the template, with the names of the fields as its parameters.
        function.__code__ = function.__code__.replace(co_varnames=("self", *names))
        function.__defaults__ = tuple(
            [options[name]["default"] for name in names if "default" in options.get(name, ())]
        )
        function.__name__, function.__qualname__ = "__init__", f"{kind.__qualname__}.__init__"
        return function


__all__ = ["Record", "as_dict", "field", "replace"]


def as_dict(record: Record) -> dict[str, Any]:
    """Return the fields by their names."""
    return {name: getattr(record, name) for name in record.__match_args__}


class _FieldOptions(dict):  # type: ignore[type-arg]
    """The arguments of `field`, until the class is made."""


class _DataclassAttribute:
    """What `dataclasses` looks for in a class, taken from a dataclass of the same fields that is made on demand."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, kind: Any) -> Any:
        from dataclasses import field, make_dataclass

        options = kind._options
        fields = [(name, type_, field(**options.get(name, {}))) for name, type_ in kind.__annotations__.items()]
        return getattr(make_dataclass(kind.__name__, fields, frozen=True), self._name)


class _RecordType(type):
    """Makes slots of the annotated names of a class body, and keeps their defaults."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        names = tuple(namespace.get("__annotations__", ())) if bases else ()
        given = {name: namespace.pop(name) for name in names if name in namespace}
        options = {
            name: value if type(value) is _FieldOptions else _FieldOptions(default=value)
            for name, value in given.items()
        }
        namespace |= {"__slots__": names, "__match_args__": names, "_options": options}
        kind: Any = super().__new__(mcs, name, bases, namespace)
        kind._setters = tuple([getattr(kind, name).__set__ for name in names])
        return kind


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record(metaclass=_RecordType):
    """The base of immutable classes: the annotations of a subclass are its fields, which no subclass of it may add to.

    Records of one class are equal, and have one hash, if their fields have.
    """

    if TYPE_CHECKING:
        __match_args__: ClassVar[tuple[str, ...]]
        _options: ClassVar[dict[str, dict[str, Any]]]
        _setters: ClassVar[tuple[Callable[[Any, Any], None], ...]]
    else:
        __dataclass_fields__ = _DataclassAttribute()
        __dataclass_params__ = _DataclassAttribute()

        def __init__(self, *values: Any, **named: Any) -> None:
            kind = type(self)
            initializer = _init_of(kind)
            if initializer is not None:
                # For the first record, not for the class: a cold start makes none of many classes.
                kind.__init__ = initializer
                initializer(self, *values, **named)
                return
            setters = self._setters
            if named or len(values) != len(setters):
                values = self._bind(values, named)
            for set_field, value in zip(setters, values):  # noqa: B905 (as many: this is called for each object)
                set_field(self, value)

    @classmethod
    def _bind(cls, values: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        """Return the values of all fields from the arguments of a call."""
        names = cls.__match_args__
        bound = dict(zip(names, values, strict=False))
        wrong = [name for name in named if name in bound or name not in names]
        bound |= named
        for name, options in cls._options.items():
            if name not in bound and "default" in options:
                bound[name] = options["default"]
            elif name not in bound and "default_factory" in options:
                bound[name] = options["default_factory"]()
        missing = [name for name in names if name not in bound]
        if wrong or missing or len(values) > len(names):
            raise TypeError(
                f"{cls.__qualname__} has the fields {names}: {len(values)} by position, unknown or twice: {wrong}, "
                f"missing: {missing}"
            )
        return [bound[name] for name in names]

    def __getstate__(self) -> list[Any]:
        return [getattr(self, name) for name in self.__match_args__]

    def __setstate__(self, state: list[Any]) -> None:
        for set_field, value in zip(self._setters, state, strict=True):
            set_field(self, value)

    def __repr__(self) -> str:
        shown = (name for name in self.__match_args__ if self._options.get(name, {}).get("repr", True))
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(tuple(self.__getstate__()))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")
