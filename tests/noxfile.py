"""The suite on each Python, with the oldest and with the newest releases of the dependencies.

    .venv/bin/nox -f tests/noxfile.py               # what depends on releases most, a minute for each of the eight
    .venv/bin/nox -f tests/noxfile.py -- tests      # all of it; what follows `--` goes to pytest
    .venv/bin/nox -f tests/noxfile.py -s audit      # known vulnerabilities
    .venv/bin/nox -f tests/noxfile.py -s beside_boto3  # beside the newest boto3, without aioboto3
    .venv/bin/nox -f tests/noxfile.py -s build      # the distributions, twice, with equal contents

A Python that is not on the PATH is skipped, and nox says so; with pyenv, name them all in PYENV_VERSION.
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import nox

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
PUBLIC_EXTRAS = ("aioboto3", "cli", "examples", "local")
CLOSEST = (
    "tests/format",
    "tests/dict/test_dict.py",
    "tests/stores/test_obstore_driver.py",
    "tests/packaging/test_import_cost.py",
    "tests/cli/test_entries.py",
    "tests/packaging/test_interpreter_exit.py",
)
"""The tests that depend on releases most: formats, drivers, modes, cold starts, the command line."""

BESIDE_BOTO3 = ("tests/dict/test_dict.py", "tests/dict/test_bulk.py", "-k", "seaweedfs")
_PRINT_BOTO3 = "import boto3, botocore; print(boto3.__version__, botocore.__version__)"

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["suite"]


@nox.session(python=PYTHONS, venv_params=["--seed"])
@nox.parametrize("resolution", ["lowest-direct", "highest"])
def suite(session: nox.Session, resolution: str) -> None:
    """pytest, with the oldest or the newest releases that pyproject.toml allows."""
    releases = _releases(session, resolution)
    session.chdir(ROOT)
    session.install("--editable", ".[test]", "--constraint", str(releases))
    session.run("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *(session.posargs or CLOSEST))


@nox.session
def audit(session: nox.Session) -> None:
    """pip-audit, of the newest releases."""
    releases = _releases(session, "highest")
    session.install("pip-audit")
    session.run("pip-audit", "--strict", "--disable-pip", "--no-deps", "--requirement", str(releases))


@nox.session
def beside_boto3(session: nox.Session) -> None:
    """Install into an environment that has the newest boto3, and run the demo and a part of the suite there."""
    session.chdir(ROOT)
    session.install("boto3")
    before = session.run("python", "-c", _PRINT_BOTO3, silent=True)
    session.install("--editable", ".[test-base]")
    if session.run("python", "-c", _PRINT_BOTO3, silent=True) != before:
        session.error(f"Installing s3dict has replaced boto3 {before}")
    session.run("python", "-c", "import importlib.util; assert importlib.util.find_spec('aioboto3') is None")
    session.run("s3dict", "demo", silent=True)
    session.run("pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *(session.posargs or BESIDE_BOTO3))


@nox.session
def build(session: nox.Session) -> None:
    """Build both distributions twice, and check that they are equal and that PyPI accepts their metadata."""
    session.chdir(ROOT)
    session.install("build", "twine")
    folders = [Path(session.create_tmp()).resolve() / name for name in ("first", "second")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT), silent=True)
    first, second = (
        {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} for folder in folders
    )
    if first != second:
        session.error(f"Two builds differ: {first}, {second}")
    session.run("twine", "check", "--strict", *map(str, sorted(folders[0].iterdir())))


def _releases(session: nox.Session, resolution: str) -> Path:
    """A file that says which release of everything a user of s3dict gets; the tools of the tests are not among them."""
    releases = Path(session.create_tmp()).resolve() / f"{resolution}.txt"
    extras = [f"--extra={extra}" for extra in PUBLIC_EXTRAS]
    python = f"--python={session.virtualenv.location}/bin/python"
    options = ("--quiet", "--upgrade", "--no-header", "--no-annotate", f"--resolution={resolution}", python, *extras)
    session.run(
        "uv", "pip", "compile", *options, str(ROOT / "pyproject.toml"), f"--output-file={releases}", external=True
    )
    return releases
