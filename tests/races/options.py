"""The options that make the random and the counted tests longer."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("s3dict", "races and histories")
    group.addoption(
        "--races",
        choices=["short", "full"],
        default="short",
        help="how many rounds the processes race: full is 16 x 200 on MiniStack; short, a tenth, is the default",
    )
    group.addoption(
        "--histories",
        type=int,
        default=1,
        metavar="N",
        help="on how many seeds the linearizability of histories is checked, for each server (default: 1)",
    )
