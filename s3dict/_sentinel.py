"""The default of an argument for which None is a value of its own."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Unset(Enum):
    """The type of `UNSET`, which signatures show as ``...``."""

    UNSET = "..."

    def __repr__(self) -> str:
        return "..."


UNSET: Final[Literal[Unset.UNSET]] = Unset.UNSET
"""Nothing was passed."""
