"""Which suites there are, where their tests come from, and what of them cannot apply."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A project whose tests are run over s3dict.

    `module` is the file in `suites` that runs them. They come from the wheel, or, where `sdist` is set, from folders of
    the source distribution: `copied` maps these to folders in the one that the suite runs in. `checkout` is the
    repository that has them where neither has: the command takes a clone of it. `not_applicable` maps a reason to the
    tests that it excludes.
    """

    name: str
    title: str
    module: str
    requires: tuple[str, ...]
    sdist: str | None = None
    copied: dict[str, str] = field(default_factory=dict)
    module_folder: str = ""
    checkout: str | None = None
    not_applicable: dict[str, tuple[str, ...]] = field(default_factory=dict)


PEERS = (
    Peer(
        "django",
        "Django: BaseCacheTests",
        "peer_django.py",
        ("django",),
        sdist="django",
        copied={"tests/cache": "cache"},
        not_applicable={
            "there is no MAX_ENTRIES: a lifecycle rule deletes unused entries": (
                "TestS3DictCache::test_cull",
                "TestS3DictCache::test_zero_cull",
                "TestS3DictCache::test_cull_delete_when_store_empty",
            )
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
        not_applicable={"the number of entries has no limit": ("TestS3DictStore::test_not_unbounded",)},
    ),
    Peer(
        "langgraph",
        "LangGraph: checkpointer conformance",
        "peer_langgraph.py",
        ("langgraph-checkpoint-conformance",),
    ),
    Peer(
        "joblib",
        "joblib: tests of Memory and its stores",
        "peer_joblib.py",
        ("joblib", "numpy"),
        not_applicable={
            "`mmap_mode` needs files": (
                "test_memory_integration",
                "test_memory_numpy[r]",
                "test_memory_numpy_check_mmap_mode",
                "test_memorized_result_forwards_mmap_mode",
                "test_memory_pickle_dump_load[memory_kwargs1]",
            ),
            "looks for files below the location": (
                "test_parallel_call_cached_function_defined_in_jupyter",
                "test_func_dir",
                "test_persistence",
                "test_call_and_shelve_lazily_load_stored_result",
                "test_memory_clear",
                "TestAutoGitignore::test_memory_creates_gitignore",
                "test_store_cached_func_code_is_not_written_in_place",
            ),
            "`reduce_size` and the list of items: the ttl deletes": (
                "test__get_items",
                "test_memory_reduce_size",
                "test_memory_recomputes_after_an_error_while_loading_results",
            ),
            "compares two handles of a Dict with `==`": ("test_memory_pickle_dump_load[memory_kwargs0]",),
        },
    ),
    Peer(
        "modal",
        "modal.Dict: dict_test.py",
        "peer_modal.py",
        (),
        checkout="modal-labs/modal-client",
        copied={"py/test": "test_of_modal"},
        not_applicable={
            "counts or replaces calls of Modal's server": (
                "test_dict_ephemeral",
                "test_dict_lazy_hydrate_named",
                "test_dict_deserialization_errors",
            ),
        },
    ),
    Peer(
        "cpython",
        "CPython: test.mapping_tests",
        "peer_cpython.py",
        (),
        not_applicable={
            "`copy`, `fromkeys` and `repr` of a `dict`": (
                "TestDictMapping::test_copy",
                "TestDictMapping::test_fromkeys",
                "TestDictMapping::test_repr",
            ),
            "keys and values of local classes, or without a bound of depth": (
                "TestDictMapping::test_eq",
                "TestDictMapping::test_getitem",
                "TestDictMapping::test_pop",
                "TestDictMapping::test_setdefault",
            ),
            "the order of insertion": ("TestDictMapping::test_popitem",),
        },
    ),
    Peer("zict", "zict: mapping tests", "peer_zict.py", ("zict",)),
)
