"""What a fresh interpreter loads: the package is quick to import, and a driver is loaded when it is first needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from s3dict import Client, Dict

from ..conftest import here
from ..support.modes import Endpoint

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("boto3", "botocore", "aioboto3", "aiobotocore", "aiohttp", "obstore", "rich", "typer", "cloudpickle", "numpy"),
    *("asyncio", "concurrent.futures", "logging", "pickle", "http", "ssl", "urllib.parse", "ipaddress", "email"),
    *("dataclasses", "inspect", "decimal", "fractions", "hashlib", "hmac"),
}
ASYNCIO_DRIVER = {"aioboto3", "aiobotocore", "aiohttp"}
BLOCKING_DRIVER = {"boto3", "botocore"}

MEMORY = """
from s3dict import Client, Dict
d = Dict.from_name("d", create_if_missing=True, client=Client("b", driver="memory"))
"""
SERVER = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

class Nothing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", 0), Nothing)
threading.Thread(target=server.serve_forever, daemon=True).start()

from s3dict import Client, Dict, NotFoundError

d = Dict.from_name("d", client=Client("b", endpoint_url=f"http://127.0.0.1:{server.server_port}", driver="boto3"))
try:
    d.get("k")
except NotFoundError:
    pass
else:
    raise AssertionError("the server has no Dict")
"""


def run_anew(code: str, **variables: str) -> str:
    """What a fresh interpreter prints that runs the code with these environment variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    environment = {**kept, "PYTHONPATH": str(ROOT), "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    environment |= variables
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str, **variables: str) -> set[str]:
    """The modules that a fresh interpreter has after running the code with these environment variables."""
    printing = "import json as _json, sys as _sys; print(_json.dumps(sorted(_sys.modules)))"
    return set(json.loads(run_anew(f"{code}\n{printing}", **variables)))


@pytest.fixture(scope="module")
def bare() -> set[str]:
    """What is loaded without us: a virtual environment may load things of its own."""
    return loaded_after("import cbor2")


def test_importing_the_package_loads_no_driver_and_nothing_else_that_is_slow(bare: set[str]) -> None:
    assert {name for name in loaded_after("import s3dict") if name.startswith("s3dict.")} == set()
    loaded = loaded_after("from s3dict import Client, Dict")
    assert "s3dict._dict" in loaded
    assert (loaded - bare) & HEAVY == set()


def test_public_names_are_attributes_before_anything_is_loaded() -> None:
    code = "import s3dict; assert s3dict.errors.InvalidError is s3dict.InvalidError"
    for statement in (
        code,
        "from s3dict import *; Dict, InvalidError, memoize",
        "import s3dict; s3dict.Dict.from_name",
    ):
        assert "s3dict.errors" in loaded_after(statement)


def test_making_clients_and_handles_loads_no_driver(bare: set[str]) -> None:
    code = (
        "from s3dict import Client, Dict; Dict.from_name('d', client=Client('b')); Dict.ephemeral(client=Client('b'))"
    )
    assert (loaded_after(code) - bare) & HEAVY == set()


def test_memory_driver_loads_no_other() -> None:
    loaded = loaded_after(f"{MEMORY}d['k'] = 1; assert d['k'] == 1; d.clear()")
    assert "s3dict._stores.memory" in loaded
    assert loaded & (BLOCKING_DRIVER | ASYNCIO_DRIVER) == set()


def test_plain_values_are_put_without_cloudpickle() -> None:
    loaded = loaded_after(f"{MEMORY}d['k'] = 'v'; assert d['k'] == 'v'")
    assert "_pickle" in loaded
    assert "cloudpickle" not in loaded


def test_blocking_calls_over_boto3_load_nothing_of_the_asyncio_driver() -> None:
    loaded = loaded_after(SERVER)
    assert loaded >= BLOCKING_DRIVER
    assert loaded & ASYNCIO_DRIVER == set()


@pytest.fixture
def stored(seaweedfs: Endpoint) -> dict[str, str]:
    """The environment that leads to a dict on a real server, which has an entry."""
    here("obstore")
    client = Client(seaweedfs.bucket, prefix="imports", endpoint_url=seaweedfs.url)
    Dict.from_name("d", create_if_missing=True, client=client)["k"] = "v"
    return {
        "S3DICT_BUCKET": seaweedfs.bucket,
        "S3DICT_PREFIX": client.prefix,
        "S3DICT_ENDPOINT_URL": seaweedfs.url,
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }


LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.mark.parametrize("around", [{}, LAMBDA], ids=["static", "lambda"])
def test_cold_start_over_obstore_loads_nothing_that_is_slow(
    stored: dict[str, str], around: dict[str, str], bare: set[str]
) -> None:
    loaded = loaded_after("from s3dict import Dict; assert Dict.from_name('d').get('k') == 'v'", **stored, **around)
    assert "obstore" in loaded
    assert (loaded - bare) & HEAVY <= {"obstore"}


def test_cold_start_in_asyncio_loads_no_driver_but_obstore(stored: dict[str, str], bare: set[str]) -> None:
    code = """
        import asyncio
        from s3dict import Dict

        assert "v" == asyncio.run(Dict.from_name("d").get.aio("k"))
    """
    loaded = loaded_after(textwrap.dedent(code), **stored)
    own = {"asyncio", "logging", "ssl", "concurrent.futures", "inspect"}
    assert "obstore" in loaded
    assert (loaded - bare) & HEAVY <= {"obstore"} | own


def test_debug_logging_that_is_off_loads_nothing(stored: dict[str, str], bare: set[str]) -> None:
    code = "from s3dict import Dict; d = Dict.from_name('d'); d['l'] = 1; d.get('missing'); d.len()"
    loaded = loaded_after(code, **stored)
    assert "s3dict._stores.shared.request_log" in loaded
    assert "logging" not in loaded - bare
    assert loaded & {"s3dict._stores.shared.redaction", "s3dict._stores.shared.access_denied"} == set()
