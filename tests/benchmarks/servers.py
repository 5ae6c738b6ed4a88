"""The servers that all peers are measured against."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3dict.testing.seaweedfs import LocalServer

__all__ = ["DELAY", "ROOT", "Server", "Servers", "running_servers", "stub_ports"]

DELAY = 0.02
"""Seconds that the delayed stub waits with each answer."""
ROOT = Path(__file__).parents[2]
_BUCKET = "benchmarks"


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    endpoint: str
    bucket: str
    access_key: str = "access-key"
    secret_key: str = "secret-key"


@dataclass(frozen=True, slots=True)
class Servers:
    """The stub twice, with the same objects, and SeaweedFS."""

    stub: Server
    delayed: Server
    seaweedfs: Server


@contextmanager
def running_servers() -> Iterator[Servers]:
    with stub_ports() as ports, _seaweedfs() as seaweedfs:
        yield Servers(
            Server("stub", f"http://127.0.0.1:{ports['at_once']}", _BUCKET),
            Server(f"stub + {1000 * DELAY:.0f} ms", f"http://127.0.0.1:{ports['delayed']}", _BUCKET),
            Server("SeaweedFS", seaweedfs.endpoint_url, _BUCKET, seaweedfs.access_key, seaweedfs.secret_key),
        )


@contextmanager
def running_stub() -> Iterator[tuple[Server, Server]]:
    """The stub that answers at once, and the same with a delay."""
    with stub_ports() as ports:
        yield (
            Server("stub", f"http://127.0.0.1:{ports['at_once']}", _BUCKET),
            Server(f"stub + {1000 * DELAY:.0f} ms", f"http://127.0.0.1:{ports['delayed']}", _BUCKET),
        )


@contextmanager
def _seaweedfs() -> Iterator[LocalServer]:
    with (
        tempfile.TemporaryDirectory(prefix="s3dict-benchmarks-") as directory,
        LocalServer(Path(directory), bucket=_BUCKET) as server,
    ):
        yield server


@contextmanager
def stub_ports() -> Iterator[Mapping[str, int]]:
    command = [sys.executable, "-m", "tests.benchmarks.stub", "--delay", str(DELAY)]
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C is for us to handle, and then its input ends.
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as stub:
        assert stub.stdout is not None
        yield json.loads(stub.stdout.readline())
        stub.communicate()
