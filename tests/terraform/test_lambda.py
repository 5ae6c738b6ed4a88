"""The Lambda example counts visits across execution environments, from its sources and from its package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict

from ..support.modes import Endpoint
from .lambda_package import build, invoke, report, runtime_python
from .policies import MODULE

MAX_ARCHIVE_BYTES = 8_000_000
_NO_REGISTRY = ("Failed to establish a new connection", "No matching distribution found")

# Like Lambda, imports the module once and calls the handler for each event.
_RUNTIME = textwrap.dedent("""
    import importlib, json, sys

    module, _, function = sys.argv[1].partition(".")
    handler = getattr(importlib.import_module(module), function)
    print(json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
""")


def _invoke(pages: list[str], endpoint: Endpoint) -> Any:
    """Invoke the function in a new execution environment: the first invocation is cold, the others are warm."""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "s3dict-visits",
        "PYTHONPATH": os.pathsep.join([str(MODULE / "examples/lambda/src"), str(MODULE.parent)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "S3DICT_BUCKET": endpoint.bucket,
        "S3DICT_ENDPOINT_URL": endpoint.url,
        "S3DICT_ENVIRONMENT": "prod",
        "S3DICT_PREFIX": f"lambda-{os.getpid()}",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUNTIME, "visits.handler"],
        input=json.dumps([{"page": page} for page in pages]),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.stderr, run.returncode) == ("", 0)
    return [(answer["page"], answer["visits"]) for answer in json.loads(run.stdout)]


def test_cold_and_warm_invocations_count_on(seaweedfs: Endpoint) -> None:
    assert _invoke(["home", "home", "docs"], seaweedfs) == [("home", 1), ("home", 2), ("docs", 1)]
    assert _invoke(["home", "docs"], seaweedfs) == [("home", 3), ("docs", 2)]
    client = Client(
        seaweedfs.bucket,
        prefix=f"lambda-{os.getpid()}",
        endpoint_url=seaweedfs.url,
        environment_name="prod",
    )
    visits: Dict[str, int] = Dict.from_name("visits", client=client)
    assert dict(visits.items()) == {"home": 3, "docs": 2}
    assert visits.info().created_by == "lambda:s3dict-visits"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as build.sh makes it for this machine, without boto3."""
    path = tmp_path_factory.mktemp("lambda") / "function.zip"
    try:
        build(path, "--without-boto3")
        runtime_python()
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _NO_REGISTRY):
            raise
        pytest.skip(f"No package registry is reachable: {error}")
    return path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_package_counts_under_the_lambda_runtime(archive: Path, tmp_path: Path, seaweedfs: Endpoint) -> None:
    zipfile.ZipFile(archive).extractall(tmp_path)
    variables = {
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": "us-east-1",
        "S3DICT_BUCKET": seaweedfs.bucket,
        "S3DICT_ENDPOINT_URL": seaweedfs.url,
        "S3DICT_PREFIX": f"lambda-package-{os.getpid()}",
    }
    runs = [invoke(tmp_path, [{"page": "home"}] * 2, variables) for _ in range(3)]
    assert [response["visits"] for run in runs for response in run.responses] == [1, 2, 3, 4, 5, 6]
    print(f"\narchive, initialisation, first and later invocations: {report(archive, runs[1:])}")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_package_is_small_and_has_bytecode_but_neither_boto3_nor_the_guide(archive: Path) -> None:
    with zipfile.ZipFile(archive) as package:
        names = set(package.namelist())
        compiled = package.read(f"s3dict/__pycache__/_dict.{sys.implementation.cache_tag}.pyc")
    assert archive.stat().st_size <= MAX_ARCHIVE_BYTES
    packed = {name.partition("/")[0] for name in names if "dist-info" not in name and "pycache" not in name}
    assert packed - {"typing_extensions.py"} == {
        *("cbor2", "cloudpickle", "obstore", "s3dict", "visits.py"),
    }
    assert [name for name in names if name.startswith(("s3dict/guide", "s3dict/examples"))] == []
    # PEP 552: 1 in the flags marks a hash instead of a time, and no 2 that it is not checked.
    assert int.from_bytes(compiled[4:8], "little") == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_package_is_reproducible(archive: Path, tmp_path: Path) -> None:
    build(tmp_path / "again.zip", "--without-boto3")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
