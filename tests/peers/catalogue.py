"""Which suites there are, where their tests come from, and what of them cannot apply."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A project whose tests are run over s3dict.

    `module` is the file in `suites` that runs them. They come from the wheel, or, where `sdist` is set, from folders of
    the source distribution: `copied` maps these to folders in the one that the suite runs in. `checkout` is the
    repository that has them where neither has: the command takes a clone of it.
    """

    name: str
    title: str
    module: str
    requires: tuple[str, ...]
    sdist: str | None = None
    copied: dict[str, str] = field(default_factory=dict)
    module_folder: str = ""
    checkout: str | None = None
    not_applicable: dict[str, str] = field(default_factory=dict)


PEERS = (
    Peer(
        "django",
        "Django: BaseCacheTests",
        "peer_django.py",
        ("django",),
        sdist="django",
        copied={"tests/cache": "cache"},
        not_applicable={
            "test_cull": "no MAX_ENTRIES: a lifecycle rule deletes unused entries",
            "test_zero_cull": "as test_cull",
            "test_cull_delete_when_store_empty": "as test_cull",
        },
    ),
    Peer(
        "dogpile",
        "dogpile.cache: backend, mutex and serializer suites",
        "peer_dogpile.py",
        ("dogpile.cache",),
    ),
    Peer(
        "cachelib",
        "cachelib: common, clear, has, prefix suites",
        "peer_cachelib.py",
        ("cachelib", "pytest-xprocess"),
        sdist="cachelib",
        copied={"tests": ""},
    ),
    Peer(
        "aiocache",
        "aiocache: acceptance tests of caches and locks",
        "peer_aiocache.py",
        ("aiocache", "pytest-asyncio", "pytest-mock"),
        sdist="aiocache",
        copied={"tests": "tests"},
        module_folder="tests/acceptance",
    ),
    Peer(
        "py_key_value",
        "py-key-value: BaseStoreTests",
        "peer_py_key_value.py",
        ("py-key-value-aio", "pytest-asyncio", "dirty-equals", "inline-snapshot", "pydantic"),
        checkout="strawgate/py-key-value",
        copied={"tests": "tests"},
        module_folder="tests/stores",
    ),
    Peer(
        "langgraph",
        "LangGraph: checkpointer conformance",
        "peer_langgraph.py",
        ("langgraph-checkpoint-conformance",),
    ),
    Peer("cpython", "CPython: test.mapping_tests", "peer_cpython.py", ()),
    Peer("zict", "zict: mapping tests", "peer_zict.py", ("zict",)),
)
