"""The suite on each Python, with the oldest and with the newest releases of what s3dict stands on.

    .venv/bin/nox -f tests/noxfile.py               # what depends on releases most, a minute for each of the eight
    .venv/bin/nox -f tests/noxfile.py -- tests      # all of it; what follows `--` goes to pytest
    .venv/bin/nox -f tests/noxfile.py -s audit      # known vulnerabilities

A Python that is not on the PATH is skipped, and nox says so; with pyenv, name them all in PYENV_VERSION.
"""

from __future__ import annotations

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
"""What is closest to the packages: the formats, both drivers, both ways, cold starts, the command line."""

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
