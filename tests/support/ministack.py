"""MiniStack's S3: in memory, with atomic conditions on PUT and DELETE.

    with MiniStack(tmp_path) as server:
        client = boto3.client("s3", endpoint_url=server.url, ...)

It wants a botocore that aioboto3 cannot take, so it lives in a virtual environment of its own.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

from s3dict.testing.seaweedfs import ParentBoundProcess, _free_port

from .server_packages import python_package

__all__ = ["VERSION", "MiniStack"]

VERSION = "1.5.33"
_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_READ_FROM_ENVIRONMENT = ("AWS_", "GATEWAY_", "LOCALSTACK_", "MINISTACK_", "S3_")


class MiniStack:
    """A server on a free port of 127.0.0.1, which accepts any credentials.

    It ends when the test process ends, in whatever way, and takes what it stored with it. Its log and whatever else
    it writes lie in `directory`.

    Raises:
        RuntimeError: it could not be installed or started; the message says why.
    """

    def __init__(self, directory: Path) -> None:
        self._log_path = directory / "ministack.log"
        port = _free_port()
        self.url = f"http://{_HOST}:{port}"
        with self._log_path.open("ab") as log:
            command = [str(python_package("ministack", VERSION) / "python"), "-m", "ministack"]
            self._process = ParentBoundProcess(command, directory, _environment(directory, port), log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MiniStack:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """At once: there is nothing to save."""
        self._process.end(signal.SIGKILL)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if not self._process.is_running() or time.monotonic() > deadline:
                raise RuntimeError(f"MiniStack did not start:\n{self._log_path.read_text(errors='replace')}")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5) as answer:
                return bool(json.load(answer)["services"] == {"s3": "available"})
        except (urllib.error.URLError, OSError):
            return False


def _environment(directory: Path, port: int) -> dict[str, str]:
    """S3 and nothing else, on loopback and nowhere else; nothing is kept, and no container engine is looked for."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_READ_FROM_ENVIRONMENT)}
    return kept | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": _HOST,
        "SERVICES": "s3",
        "PERSIST_STATE": "0",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "DOCKER_HOST": f"unix://{directory}/no-docker.sock",
        "TMPDIR": str(directory),
    }
