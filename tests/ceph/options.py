"""The option that lets the tests install and start Ceph."""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("s3dict").addoption(
        "--ceph",
        action="store_true",
        help="also run the tests on Ceph, whose lifecycle really deletes: about 5 minutes. Where Ceph is missing they "
        "install some 200 MB of Debian packages, as root",
    )
