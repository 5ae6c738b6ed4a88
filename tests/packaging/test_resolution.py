"""Which releases an installer chooses: beside the newest boto3, and on the platforms of other machines."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLATFORMS = [
    # Lambda, whose Amazon Linux 2023 has glibc 2.34.
    "x86_64-manylinux_2_34",
    "aarch64-manylinux_2_34",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    # cbor2 has no wheels for macOS on Intel, where installing it needs a compiler.
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
]
_OFFLINE = ("dns error", "error sending request", "Could not connect", "Failed to fetch")


def resolve(*options: str, requirements: str | None = None) -> dict[str, str]:
    """Return the releases that satisfy requirements; those of this distribution by default."""
    source = "pyproject.toml" if requirements is None else "-"
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-annotate",
        f"--python={sys.executable}",
        source,
        *options,
    ]
    run = subprocess.run(
        command, input=requirements, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    if run.returncode and any(sign in run.stderr for sign in _OFFLINE):
        pytest.skip(f"No package index is reachable: {run.stderr}")
    assert run.returncode == 0, f"{command}: {run.stderr}"
    return dict(re.findall(r"^([\w.-]+)==(\S+)", run.stdout, re.MULTILINE))


def test_installing_keeps_the_newest_boto3(tmp_path: Path) -> None:
    newest = resolve(requirements="boto3")
    pinned = tmp_path / "newest.txt"
    pinned.write_text("".join(f"{name}=={version}\n" for name, version in newest.items()))
    releases = resolve("--constraint", str(pinned))
    assert {name: releases[name] for name in newest} == newest
    assert set(releases) - set(newest) - {"typing-extensions"} == {"cbor2", "cloudpickle", "obstore"}


def resolve_wheels(platform: str) -> dict[str, str]:
    return resolve("--python-platform", platform, "--python-version", "3.13", "--only-binary", ":all:")


def test_base_has_wheels_for_each_platform() -> None:
    with ThreadPoolExecutor() as threads:
        releases = dict(zip(PLATFORMS, threads.map(resolve_wheels, PLATFORMS), strict=True))
    required = {"boto3", "cbor2", "cloudpickle", "obstore"}
    assert {platform: required - set(found) for platform, found in releases.items() if not required <= set(found)} == {}


def test_base_has_wheels_where_obstore_has_none() -> None:
    assert "obstore" not in resolve_wheels("i686-pc-windows-msvc")
