"""The option that makes the scenarios longer."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("s3dict").addoption(
        "--chaos",
        choices=["short", "full"],
        default="short",
        help="how long servers and clients are killed and the network fails: full is a minute each, with outages of "
        "half a minute; short, some seconds, is the default",
    )
