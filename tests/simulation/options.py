"""The option for the number of schedules."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption"]

SHORT, FULL = 80, 4000
"""Seeds for each workload."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("s3dict").addoption(
        "--simulation",
        choices=["short", "full"],
        default="short",
        help=f"how many schedules of each simulated workload are explored: {FULL} for full, which takes half an hour; "
        f"short, {SHORT}, is the default",
    )
