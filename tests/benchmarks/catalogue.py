"""Which peers there are: what their files say of themselves."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["Kind", "all_kinds", "kind_named"]

_ROOT = Path(__file__).parents[2]
_PEERS = Path(__file__).parent / "peers"
_LITERALS = ("NAME", "STANDS_ON", "REQUIREMENTS", "IS_VARIANT")


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer, by its file's own words."""

    module: str
    name: str
    stands_on: str
    requirements: tuple[str, ...]
    root: Path = _ROOT
    """The checkout whose file it is, and whose s3dict it uses."""
    is_variant: bool = False
    """Whether it is s3dict with something changed, measured beside s3dict alone."""

    @property
    def is_managed(self) -> bool:
        return self.module.startswith("s3dict_")

    @property
    def is_ours(self) -> bool:
        return self.root == _ROOT

    def of_release(self, checkout: Path) -> Kind:
        """The same peer of an earlier release, by the checkout's own file and environment."""
        return replace(self, name=f"{self.name}, earlier release", root=checkout)


@lru_cache(maxsize=1)
def _every_kind() -> tuple[Kind, ...]:
    described = ((path.stem, _literals(path)) for path in sorted(_PEERS.glob("*.py")))
    return tuple(
        Kind(
            module,
            said["NAME"],
            said["STANDS_ON"],
            said["REQUIREMENTS"],
            is_variant=said.get("IS_VARIANT", False),
        )
        for module, said in described
        if "NAME" in said
    )


def all_kinds() -> tuple[Kind, ...]:
    """All that are compared with one another, so without the variants of s3dict."""
    return tuple(kind for kind in _every_kind() if not kind.is_variant)


def kind_named(name: str) -> Kind:
    return next(kind for kind in _every_kind() if kind.name == name)


def _literals(path: Path) -> dict[str, Any]:
    """The constants of a module that cannot be imported here, since what it imports is not installed here."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    assigned = ((ast.unparse(one.targets[0]), one.value) for one in statements if isinstance(one, ast.Assign))
    return {name: ast.literal_eval(value) for name, value in assigned if name in _LITERALS}
