"""The tests that the quick subset (``-m "not slow"``) leaves out.

They need a server, many processes, a compiler or a browser. The rest runs in memory, in about a minute.
"""

from __future__ import annotations

import pytest

__all__ = ["mark_slow"]

_FOLDERS = frozenset(
    {
        "benchmarks",
        "ceph",
        "chaos",
        "compatibility",
        "examples",
        "fuzz",
        "linearizability",
        "packaging",
        "races",
        "simulation",
        "support_tests",
        "terraform",
        "typing",
    }
)
_SERVER_FIXTURES = frozenset({"driver", "endpoint", "moto", "nanio", "seaweedfs", "serve", "server", "shared_server"})


def mark_slow(items: list[pytest.Item]) -> None:
    """Add the marker ``slow`` by folder, fixtures and back end; other tests over five seconds have it themselves."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        if folder in _FOLDERS or _needs_server(item):
            item.add_marker(pytest.mark.slow)


def _needs_server(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if "race_backend" in parameters or not parameters.get("backend_name", "memory").startswith("memory"):
        return True
    return not _SERVER_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
