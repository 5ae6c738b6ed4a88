"""Which peers there are: what their files say of themselves."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["Kind", "all_kinds", "kind_named"]

_PEERS = Path(__file__).parent / "peers"
_LITERALS = ("NAME", "STANDS_ON", "REQUIREMENTS")


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer, by its file's own words."""

    module: str
    name: str
    stands_on: str
    requirements: tuple[str, ...]

    @property
    def is_managed(self) -> bool:
        return self.module.startswith("s3dict_")


@lru_cache(maxsize=1)
def all_kinds() -> tuple[Kind, ...]:
    described = ((path.stem, _literals(path)) for path in sorted(_PEERS.glob("*.py")))
    return tuple(
        Kind(module, said["NAME"], said["STANDS_ON"], said["REQUIREMENTS"])
        for module, said in described
        if "NAME" in said
    )


def kind_named(name: str) -> Kind:
    return next(kind for kind in all_kinds() if kind.name == name)


def _literals(path: Path) -> dict[str, Any]:
    """The constants of a module that cannot be imported here, since what it imports is not installed here."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    assigned = ((ast.unparse(one.targets[0]), one.value) for one in statements if isinstance(one, ast.Assign))
    return {name: ast.literal_eval(value) for name, value in assigned if name in _LITERALS}
