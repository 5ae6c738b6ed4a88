"""What the top level holds, and the direction of every import: each rule knows the one below it, without a cycle."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import s3dict

PACKAGE = Path(s3dict.__file__).parent
TOP_LEVEL = {".ci", ".gitignore", "LICENSE", "README.md", "pyproject.toml", "s3dict", "terraform", "tests"}
FACE = {
    *(
        "s3dict",
        "s3dict.errors",
        "s3dict._dict",
        "s3dict._handle",
        "s3dict._ephemeral",
        "s3dict._lock",
        "s3dict._counter",
        "s3dict._info",
    ),
    *("s3dict._mapping", "s3dict._memoize", "s3dict._memoized", "s3dict._manager", "s3dict._client", "s3dict._config"),
}
CORE = {"s3dict._core.*", "s3dict._format.*", "s3dict.errors", "s3dict._nested", "s3dict._sentinel"}
THREADS = "s3dict._stores.shared.threads"
EVERYWHERE = {"s3dict._record"}
"""What any module may import."""

# What each module may import. A name ending in `.*` is a package with all its modules; the first that matches counts.
MAY_IMPORT = {
    "s3dict.errors": set[str](),
    "s3dict._format.*": {"s3dict._format.*", "s3dict._pickle", "s3dict.errors"},
    "s3dict._retry": {"s3dict.errors"},
    "s3dict._stores.*": {"s3dict._stores.*", "s3dict._nested", "s3dict._retry", "s3dict.errors"},
    "s3dict._core.*": {*CORE, "s3dict._duration", "s3dict._retry", "s3dict._stores.base"},
    "s3dict._sentinel": set(),
    "s3dict._record": set(),
    "s3dict._info": {"s3dict._pickle"},
    "s3dict._nested": {"s3dict.errors"},
    "s3dict._duration": {"s3dict.errors"},
    # It finds what it restores by name, as pickle does.
    "s3dict._pickle": set(),
    # What pickles of 0.1 refer to: no other module imports it.
    "s3dict._legacy.*": {*FACE, "s3dict._legacy.*", "s3dict._pickle", "s3dict._format.layout"},
    "s3dict._aio": {THREADS, "s3dict._nested", "s3dict.errors"},
    "s3dict._config": {"s3dict.errors", "s3dict._format.layout", "s3dict._stores.shared.validation"},
    "s3dict._client": {
        *("s3dict._config", "s3dict._core.read_cache", "s3dict.errors", "s3dict._format.*", "s3dict._retry"),
        *("s3dict._duration", "s3dict._pickle", "s3dict._preload", "s3dict._stores.*"),
    },
    # It imports by name what others import when they need it.
    "s3dict._preload": set(),
    "s3dict._handle": {*CORE, "s3dict._duration", "s3dict._client", "s3dict._config", "s3dict._stores.base"},
    "s3dict._manager": {
        *CORE,
        *("s3dict._aio", "s3dict._client", "s3dict._config", "s3dict._duration", "s3dict._handle"),
    },
    "s3dict._ephemeral": {
        *CORE,
        *("s3dict._aio", "s3dict._client", "s3dict._config", "s3dict._handle", "s3dict._pickle", THREADS),
    },
    "s3dict._dict": {
        *CORE,
        "s3dict._duration",
        *("s3dict._aio", "s3dict._client", "s3dict._config", "s3dict._ephemeral", "s3dict._handle", "s3dict._lock"),
        *("s3dict._manager", "s3dict._mapping", "s3dict._pickle", "s3dict._stores.base", "s3dict._counter"),
        "s3dict._info",
    },
    "s3dict._mapping": {"s3dict._pickle", "s3dict._sentinel"},
    "s3dict._counter": {*CORE, "s3dict._aio", "s3dict._pickle"},
    "s3dict._lock": {*CORE, "s3dict._aio", "s3dict._duration", "s3dict._pickle", "s3dict._stores.base", THREADS},
    "s3dict._memoize": {
        *("s3dict._config", "s3dict._core.expiry", "s3dict._dict", "s3dict._duration", "s3dict._format.main_objects"),
        *("s3dict._lock", "s3dict._memoized", "s3dict.errors"),
    },
    "s3dict._memoized": {"s3dict._dict", "s3dict._pickle", "s3dict.errors"},
    "s3dict._admin.*": {*FACE, *CORE, "s3dict._admin.*", "s3dict._retry", "s3dict._stores.*"},
    "s3dict": {*FACE, "s3dict._stores.shared.events"},
    "s3dict.__main__": {"s3dict.cli.*"},
    # Names and ttls are validated as arguments, before anything else happens.
    "s3dict.cli.*": {
        *(*FACE, "s3dict.cli.*", "s3dict._admin.*", "s3dict._format.layout"),
        *("s3dict.testing.seaweedfs", "s3dict.testing.variables"),
    },
    "s3dict.testing.*": {*FACE, "s3dict.testing.*", "s3dict._stores.memory"},
    "s3dict.integrations.*": {*FACE, "s3dict.integrations.*"},
    # An example runs its own S3 where there is none.
    "s3dict.examples.*": {*FACE, "s3dict.examples.*", "s3dict.integrations.*", "s3dict.testing.seaweedfs"},
}
CONCURRENCY = {"asyncio", "threading", "time", "concurrent", "queue", "multiprocessing", "_thread", "selectors"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str, tree: ast.AST) -> Iterator[str]:
    """The names of all modules that are imported anywhere below the node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in SOURCES else base


def absolute(module: str, node: ast.ImportFrom) -> str:
    """What `from …` names, with its leading dots resolved."""
    if not node.level:
        return node.module or ""
    is_package = SOURCES[module].name == "__init__.py"
    parts = module.split(".")
    package = parts[: len(parts) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def parsed(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def all_imports(module: str) -> set[str]:
    return set(imports_of(module, parsed(module)))


def imports_at_top_level(module: str, *, typing: bool) -> set[str]:
    """Return what the module's own body imports; inside functions, imports run later and may refer back.

    Imports for type checkers alone are included by default: a cycle of types ties modules together just as well.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = [parsed(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if not typing and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(imports_of(module, node))
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def fits(module: str, pattern: str) -> bool:
    package = pattern.removesuffix(".*")
    return module == package or (pattern != package and module.startswith(package + "."))


def ours(modules: set[str]) -> set[str]:
    return {module for module in modules if fits(module, "s3dict.*")}


def test_imports_are_found_at_every_level() -> None:
    assert "s3dict._core.conditional" in all_imports("s3dict._core.entries")
    assert "s3dict._mapping" in imports_at_top_level("s3dict._dict", typing=True)
    assert "s3dict._mapping" not in imports_at_top_level("s3dict._dict", typing=False)
    assert "s3dict._stores.memory" in all_imports("s3dict._client")
    assert "s3dict._stores.memory" not in imports_at_top_level("s3dict._client", typing=True)
    assert "s3dict._client" in imports_at_top_level("s3dict._dict", typing=False)
    assert imports_at_top_level("s3dict", typing=False) == {"__future__"}


@pytest.mark.parametrize("module", SOURCES)
def test_module_knows_only_its_neighbours_below(module: str) -> None:
    rule = next((pattern for pattern in MAY_IMPORT if fits(module, pattern)), None)
    assert rule is not None, f"{module} has no rule: add one to this test"
    allowed = MAY_IMPORT[rule] | EVERYWHERE
    strangers = {known for known in ours(all_imports(module)) if not any(fits(known, each) for each in allowed)}
    assert strangers == set()


def test_imports_have_no_cycles() -> None:
    graph = {module: ours(imports_at_top_level(module, typing=True)) for module in SOURCES}
    assert set(TopologicalSorter(graph).static_order()) == set(graph)


def test_legacy_modules_are_imported_by_pickles_alone() -> None:
    importers = {
        module: {name for name in all_imports(module) if fits(name, "s3dict._legacy.*")}
        for module in SOURCES
        if not fits(module, "s3dict._legacy.*")
    }
    assert {module: names for module, names in importers.items() if names} == {}


@pytest.mark.parametrize("module", [module for module in SOURCES if fits(module, "s3dict._core.*")])
def test_operations_know_neither_threads_nor_tasks_nor_clocks(module: str) -> None:
    assert CONCURRENCY.isdisjoint(name.split(".")[0] for name in all_imports(module))


@pytest.mark.parametrize("module", [module for module in SOURCES if fits(module, "s3dict._format.*")])
def test_format_does_no_input_and_output(module: str) -> None:
    does = {"socket", "http", "urllib", "boto3", "botocore", "aioboto3", "aiohttp", "obstore", "pathlib", "subprocess"}
    assert (does | CONCURRENCY).isdisjoint(name.split(".")[0] for name in all_imports(module))


VENDORS = {"boto3", "botocore", "aioboto3", "aiobotocore", "aiohttp", "obstore"}


@pytest.mark.parametrize(
    "module",
    [
        m
        for m in SOURCES
        if not any(fits(m, package) for package in ("s3dict._stores.*", "s3dict._admin.*", "s3dict.cli.*"))
    ],
)
def test_only_stores_load_a_vendors_package(module: str) -> None:
    typing_only = {"s3dict._client": {"boto3"}}.get(module, set())
    assert VENDORS & {name.split(".")[0] for name in all_imports(module)} == typing_only
    assert VENDORS.isdisjoint(name.split(".")[0] for name in imports_at_top_level(module, typing=False))


def test_top_level_has_nothing_else() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git does not list the files: {listed.stderr.strip()}")
    assert {name.partition("/")[0] for name in listed.stdout.split("\0") if name} == TOP_LEVEL
