"""The checkboxes example as its own processes."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3dict.testing.seaweedfs import ParentBoundProcess

__all__ = ["CheckboxServers"]

_SERVED = re.compile(r"^(http://\S+) is served by process (\d+)$", re.MULTILINE)
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02


class CheckboxServers:
    """Runs the command and knows what it has printed. It ends, with its servers, when the test process does."""

    def __init__(self, directory: Path, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        self._log_path = directory / "checkboxes.log"
        command = [sys.executable, "-W", "error", "-m", "s3dict.examples.checkboxes", "--port=0", *arguments]
        # Its folder is none in which a first import would find the package by chance.
        with self._log_path.open("wb") as log:
            self._process = ParentBoundProcess(command, directory, {**os.environ, **environment}, log)

    def __enter__(self) -> CheckboxServers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.end(signal.SIGTERM)

    @property
    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8")

    def processes(self) -> dict[str, int]:
        """The URL of each server, and the process that serves it now."""
        return {url: int(pid) for url, pid in _SERVED.findall(self.log)}

    def urls(self, servers: int) -> list[str]:
        """Of this many servers, once they have been started. They answer when they are up."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(self.processes()) < servers:
            assert self._process.is_running(), self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(_POLL_SECONDS)
        return list(self.processes())

    def kill(self, url: str) -> int:
        """End the process at this URL with SIGKILL; return its number."""
        killed = self.processes()[url]
        os.kill(killed, signal.SIGKILL)
        return killed
