"""The distribution's metadata and the package's public face."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, version

import s3dict

from ..docs.pages import ROOT, links
from ..noxfile import PYTHONS
from .test_dependencies import OURS


def test_version_is_that_of_the_distribution() -> None:
    assert version(OURS) == s3dict.__version__


def test_command_prints_the_version() -> None:
    command = [sys.executable, "-W", "error", "-m", "s3dict", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"s3dict {s3dict.__version__}\n", "")


def test_dir_lists_the_public_names_alone() -> None:
    assert dir(s3dict) == sorted(s3dict.__all__)
    assert "memoize" in dir(s3dict)
    assert all(getattr(s3dict, name) for name in dir(s3dict))


def test_metadata_has_urls_and_the_tested_pythons() -> None:
    found = metadata(OURS)
    labels = [line.partition(",")[0] for line in found.get_all("Project-URL") or []]
    assert "Homepage" in labels
    classifiers = [line for line in found.get_all("Classifier") or [] if line.rpartition(" :: ")[2] in PYTHONS]
    assert [f"Programming Language :: Python :: {python}" for python in PYTHONS] == classifiers


def test_readme_on_pypi_links_to_no_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    assert all(link.startswith("https://") for link in links(text))
    assert "user guide" in text.lower()
