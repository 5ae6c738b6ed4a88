"""What mypy and pyright infer of the public interface, and which mistakes they find."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import s3dict

HERE = Path(__file__).parent
ROOT = Path(s3dict.__file__).parents[1]

Complaints = dict[int, str]
"""The lines that a checker complains about, and what it says."""
Check = Callable[[str], Complaints]


def mypy(folder: Path, name: str) -> Complaints:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "--config-file=", "--no-pretty"]
    command += ["--hide-error-context", "--no-error-summary", "--cache-dir", str(folder / "cache"), name]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(rf"^{re.escape(name)}:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    return {int(line): message for line, message in found}


def pyright(folder: Path, name: str) -> Complaints:
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)], "include": [name]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        found["range"]["start"]["line"] + 1: found["message"]
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def check(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Has a file checked as a user's own: in a folder far from the package, with the checker's strictest settings."""
    folder = tmp_path_factory.mktemp("project")

    def check(name: str) -> Complaints:
        shutil.copy(HERE / name, folder)
        complaints: Complaints = request.param(folder, name)
        return complaints

    return check


def test_package_is_marked_as_typed() -> None:
    assert (Path(s3dict.__file__).parent / "py.typed").is_file()


def test_right_uses_have_the_types_that_they_should(check: Check) -> None:
    assert check("valid.py") == {}


def test_each_wrong_use_is_found_and_nothing_else(check: Check) -> None:
    lines = (HERE / "invalid.py").read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) > 40
    complaints = check("invalid.py")
    assert wrong == set(complaints), complaints
