"""The back ends on which a test runs: those of its marker, else the usual ones, or those of `--servers`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .modes import Mode
from .servers import SERVERS
from .slow import mark_slow

__all__ = ["DRIVERS_AND_THREADS", "add_servers", "pytest_collection_modifyitems", "pytest_generate_tests", "server_of"]

_BACKENDS = ("memory", "moto", "seaweedfs", "seaweedfs-rust", "seaweedfs-threads")
DRIVERS_AND_THREADS = ("boto3", "obstore", "threads")
"""For the fixture `driver`, in tests that differ by how boto3 runs in asyncio."""
_RACE_BACKENDS = ("ministack", "seaweedfs")
"""Both run requests concurrently; moto is behind a lock, and memory is atomic."""


def add_servers(parser: pytest.Parser) -> None:
    parser.getgroup("s3dict").addoption(
        "--servers",
        type=_parse_servers,
        default=(),
        metavar="NAME[,NAME…]",
        help="run what can run on any store, and nothing else, on these: memory, memory-unordered, "
        f"{', '.join(SERVERS)}; with -rust behind the name, through obstore; with -threads, through boto3 in threads",
    )


def _parse_servers(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    for name in names:
        if not name.startswith("memory") and server_of(name) not in SERVERS:
            raise pytest.UsageError(f"--servers: there is no {name!r}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for argument, usual in (("backend_name", _BACKENDS), ("race_backend", _RACE_BACKENDS)):
        if argument in metafunc.fixturenames and not _is_given(metafunc, argument):
            metafunc.parametrize(argument, _backend_names(metafunc, usual))


def _is_given(metafunc: pytest.Metafunc, argument: str) -> bool:
    return any(marker.args[0] == argument for marker in metafunc.definition.iter_markers("parametrize"))


def _backend_names(metafunc: pytest.Metafunc, usual: Sequence[str]) -> Sequence[str]:
    marker = metafunc.definition.get_closest_marker("backends")
    allowed = marker.args if marker else usual
    if metafunc.definition.get_closest_marker("memory_only"):
        allowed = ("memory",)
    chosen = _selected(metafunc.config)
    # A marker without memory is for what takes a server. What is for memory alone is deselected below.
    return [name for name in chosen if not name.startswith("memory") or "memory" in allowed] or allowed


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers that are added here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _selected(config)
    kept = [item for item in items if _can_run(item) and (not chosen or _backend_of(item) in chosen)]
    kept_items = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept_items])
    items[:] = kept
    mark_slow(items)
    for item in items:
        server = SERVERS.get(server_of(_backend_of(item) or ""))
        if server is None:
            continue
        if not server.deletes_on_condition and item.get_closest_marker("removes_by_delete"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} ignores If-Match on DELETE: tombstones are put"))
        if not server.answers_contenders and item.get_closest_marker("certain_outcomes"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} answers 500 to some of many contenders"))
        if server.throttles and item.get_closest_marker("unthrottled"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} refuses a write just after another of the key"))
        if not server.puts_whole_objects and item.get_closest_marker("puts_whole_objects"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} keeps a put that was cut off"))


def server_of(backend: str) -> str:
    """Return the server of a back end, whose name may end in that of a driver."""
    return backend.removesuffix("-rust").removesuffix("-threads")


def _can_run(item: pytest.Item) -> bool:
    """Return whether the test is for its back end: some look into memory, and threads run boto3 in asyncio alone."""
    if item.get_closest_marker("memory_only") and not (_backend_of(item) or "memory").startswith("memory"):
        return False
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if parameters.get("driver") == "threads":
        return parameters.get("mode") is not Mode.SYNC
    if not str(_backend_of(item) or parameters.get("backend")).endswith("-threads"):
        return True
    return parameters.get("mode") is Mode.ASYNCIO


def _selected(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.getoption("--servers") or ())


def _backend_of(item: pytest.Item) -> str | None:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    backend: str | None = parameters.get("backend_name") or parameters.get("race_backend")
    return backend
