"""Running one suite: its sources, a subprocess of pytest, and what that counted."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import s3dict

from .catalogue import Peer

__all__ = ["Counts", "UnavailableSuiteError", "run"]

_SUITES = Path(__file__).parent / "suites"
_ROOT = Path(s3dict.__file__).parents[1]


class UnavailableSuiteError(Exception):
    """The tests of a peer cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a suite counted. `failures` are the names of the tests that failed."""

    passed: int
    failures: tuple[str, ...]
    skipped: int

    @property
    def run(self) -> int:
        return self.passed + len(self.failures)


def run(
    peer: Peer, environment: Mapping[str, str], folder: Path, checkout: Path | None, seconds: float, only: str = ""
) -> Counts:
    """Run the peer's tests in `folder`, over the store that the environment variables describe.

    Args:
        only: An expression of pytest's option `-k` that selects tests.

    Raises:
        UnavailableSuiteError: the framework is not installed, or its tests are not to be had.
    """
    _copy_tests(peer, folder, checkout)
    module = folder / peer.module_folder / peer.module
    shutil.copyfile(_SUITES / peer.module, module)
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:s3dict"]
    command += ["-o", "asyncio_mode=auto", "-o", "addopts=", "-W", "default", f"--rootdir={folder}"]
    command += ["-k", only] if only else []
    node = module.relative_to(folder).as_posix()
    command += [f"--deselect={node}::{name}" for names in peer.not_applicable.values() for name in names]
    done = subprocess.run(
        [*command, f"--junitxml={report}", str(module)],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join([str(folder), str(_ROOT)])},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if not report.exists():
        raise UnavailableSuiteError(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return _counted(report)


def _copy_tests(peer: Peer, folder: Path, checkout: Path | None) -> None:
    for requirement in peer.requires:
        if not _is_installed(requirement):
            raise UnavailableSuiteError(f"{requirement} is not installed: pip install '.[peers]'")
    if not peer.copied:
        return
    if peer.sdist is not None:
        source = _download(peer.sdist, folder)
    elif checkout is None:
        raise UnavailableSuiteError(
            f"its tests are in no distribution: --checkout {peer.name}=CLONE_OF_{peer.checkout}"
        )
    else:
        source = checkout
    for origin, target in peer.copied.items():
        shutil.copytree(source / origin, folder / target, dirs_exist_ok=True)


def _download(distribution: str, folder: Path) -> Path:
    """Return the unpacked source distribution of the release that is installed."""
    from importlib.metadata import version

    wanted = f"{distribution}=={version(distribution)}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder)]
    done = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        raise UnavailableSuiteError(f"pip cannot download the source of {wanted}:\n{done.stderr}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    return source


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return importlib.util.find_spec(distribution.replace("-", "_")) is not None
    return True


def _counted(report: Path) -> Counts:
    passed, skipped, failures = 0, 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes = {child.tag for child in case}
        tests = int(next((p.get("value", "1") for p in case.iter("property") if p.get("name") == "tests"), "1"))
        if outcomes & {"failure", "error"}:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += tests
    return Counts(passed, tuple(failures), skipped)
