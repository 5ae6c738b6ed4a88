"""Where a test runs: on the back ends that its marker names, or else the usual ones; or on those of `--servers`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .modes import Mode
from .servers import SERVERS
from .slow import mark_slow

__all__ = ["DRIVERS_AND_THREADS", "add_servers", "pytest_collection_modifyitems", "pytest_generate_tests", "server_of"]

_BACKENDS = ("memory", "moto", "seaweedfs", "seaweedfs-rust", "seaweedfs-threads")
DRIVERS_AND_THREADS = ("boto3", "obstore", "threads")
"""For the fixture `driver`, in tests that it also concerns how boto3 runs in asyncio."""
_RACE_BACKENDS = ("ministack", "seaweedfs")
"""Both let contenders overlap, as neither moto, which is behind a lock, nor memory does."""


def add_servers(parser: pytest.Parser) -> None:
    parser.getgroup("s3dict").addoption(
        "--servers",
        type=_checked,
        default=(),
        metavar="NAME[,NAME…]",
        help="run what can run on any store, and nothing else, on these: memory, memory-unordered, "
        f"{', '.join(SERVERS)}; with -rust behind the name, through obstore; with -threads, through boto3 in threads",
    )


def _checked(said: str) -> tuple[str, ...]:
    names = tuple(said.split(","))
    for name in names:
        if not name.startswith("memory") and server_of(name) not in SERVERS:
            raise pytest.UsageError(f"--servers: there is no {name!r}")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for argument, usual in (("backend_name", _BACKENDS), ("race_backend", _RACE_BACKENDS)):
        if argument in metafunc.fixturenames and not _is_given(metafunc, argument):
            metafunc.parametrize(argument, _chosen(metafunc, usual))


def _is_given(metafunc: pytest.Metafunc, argument: str) -> bool:
    return any(marker.args[0] == argument for marker in metafunc.definition.iter_markers("parametrize"))


def _chosen(metafunc: pytest.Metafunc, usual: Sequence[str]) -> Sequence[str]:
    marker = metafunc.definition.get_closest_marker("backends")
    may = marker.args if marker else usual
    if metafunc.definition.get_closest_marker("memory_only"):
        may = ("memory",)
    chosen = _names(metafunc.config)
    # A marker without memory is for what takes a server. What is for memory alone is deselected below.
    return [name for name in chosen if not name.startswith("memory") or "memory" in may] or may


@pytest.hookimpl(tryfirst=True)  # before -m selects by the markers that are added here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _names(config)
    kept = [item for item in items if _can_run(item) and (not chosen or _place(item) in chosen)]
    kept_items = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept_items])
    items[:] = kept
    mark_slow(items)
    for item in items:
        server = SERVERS.get(server_of(_place(item) or ""))
        if server is None:
            continue
        if not server.deletes_on_condition and item.get_closest_marker("removes_by_delete"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} ignores If-Match on DELETE: tombstones are put"))
        if not server.answers_contenders and item.get_closest_marker("certain_outcomes"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} answers 500 to some of many contenders"))
        if not server.puts_whole_objects and item.get_closest_marker("puts_whole_objects"):
            item.add_marker(pytest.mark.skip(reason=f"{server.title} keeps a put that was cut off"))


def server_of(backend: str) -> str:
    """Return the server of a back end, whose name may end in that of a driver."""
    return backend.removesuffix("-rust").removesuffix("-threads")


def _can_run(item: pytest.Item) -> bool:
    """Return whether the test is for its back end: some look into memory, and threads run boto3 in asyncio alone."""
    if item.get_closest_marker("memory_only") and not (_place(item) or "memory").startswith("memory"):
        return False
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if parameters.get("driver") == "threads":
        return parameters.get("mode") is not Mode.SYNC
    if not str(_place(item) or parameters.get("backend")).endswith("-threads"):
        return True
    return parameters.get("mode") is Mode.ASYNCIO


def _names(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.getoption("--servers") or ())


def _place(item: pytest.Item) -> str | None:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    place: str | None = parameters.get("backend_name") or parameters.get("race_backend")
    return place
