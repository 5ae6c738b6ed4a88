"""The Lambda example's package under AWS' runtime client. ``python -m tests.terraform.lambda_package`` prints figures.

`awslambdaric` is the program that runs a Python function on Lambda. It takes events from the Runtime API and returns
results to it: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. `RuntimeApi` is that API, and notes when
each request arrives.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from s3dict.testing.seaweedfs import LocalServer

from ..support.server_packages import python_package
from .policies import MODULE

__all__ = ["Environment", "build", "invoke", "runtime_python"]

_RUNTIME_CLIENT = "4.2.2"
_EXAMPLE = MODULE / "examples" / "lambda"
_BUILD_SECONDS = 300.0
_RUN_SECONDS = 60.0
_COLD_STARTS = 7


def runtime_python() -> Path:
    """Return an interpreter with AWS' runtime client and boto3, as on Lambda. Raises RuntimeError if that fails."""
    return python_package("awslambdaric", _RUNTIME_CLIENT, "boto3") / "python"


def build(archive: Path, *options: str) -> None:
    """Pack the example for this interpreter and machine. Raises RuntimeError if that fails."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    target = ("--architecture", platform.machine(), "--python", f"{sys.version_info.major}.{sys.version_info.minor}")
    command = [str(_EXAMPLE / "build.sh"), *target, "--output", str(archive), *options]
    run = subprocess.run(
        command,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_SECONDS,
    )
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")


@dataclass(frozen=True, slots=True)
class Environment:
    """What one execution environment did."""

    responses: list[Any]
    init: float
    """Seconds from the start of the process to its first request for an event."""
    invocations: list[float]
    """Seconds from each event to its response."""


def invoke(task_root: Path, events: Sequence[object], variables: Mapping[str, str]) -> Environment:
    """Start an execution environment, and invoke the function once for each event. The first invocation is cold."""
    with RuntimeApi(events) as api:
        started = time.monotonic()
        # The task's folder is read-only on Lambda, so no bytecode may be written.
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(task_root),
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_FUNCTION_NAME": "s3dict-visits",
            **variables,
        }
        command = [str(runtime_python()), "-m", "awslambdaric", "visits.handler"]
        process = subprocess.Popen(command, cwd=task_root, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert api.finished.wait(_RUN_SECONDS), f"{len(api.responses)} of {len(events)} events were processed"
        finally:
            process.kill()
            _, errors = process.communicate()
        assert api.failure is None, f"{api.failure}\n{errors}"
        return Environment(api.responses, api.events_at[0] - started, api.durations())


class RuntimeApi:
    """The Runtime API of one execution environment, which delivers the given events."""

    def __init__(self, events: Sequence[object]) -> None:
        self.responses: list[Any] = []
        self.events_at: list[float] = []
        self.responses_at: list[float] = []
        self.failure: str | None = None
        self.finished = Event()
        self.events = events
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="lambda-runtime-api", daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def durations(self) -> list[float]:
        return [after - before for before, after in zip(self.events_at, self.responses_at, strict=False)]

    def __enter__(self) -> RuntimeApi:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            """Deliver the next event, or none ever: the runtime waits, as it does between invocations."""
            number = len(api.responses)
            if number == len(api.events):
                api.finished.set()
                self.close_connection = True
                Event().wait(_RUN_SECONDS)
                return
            body = json.dumps(api.events[number]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Lambda-Runtime-Aws-Request-Id", f"request-{number}")
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + _RUN_SECONDS) * 1000)))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:visits")
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            api.events_at.append(time.monotonic())
            self.wfile.write(body)

        def do_POST(self) -> None:
            """Take the response of an invocation, or the error that ended it or the initialisation."""
            api.responses_at.append(time.monotonic())
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/response"):
                api.responses.append(json.loads(body))
            else:
                api.failure = f"{self.path}: {body.decode()}"
                api.finished.set()
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (its name in the library)
            pass

    return Handler


def report(archive: Path, environments: Sequence[Environment]) -> str:
    """Return the figures of a package as a row of a table."""
    init = statistics.median(run.init for run in environments)
    first = statistics.median(run.invocations[0] for run in environments)
    later = statistics.median(seconds for run in environments for seconds in run.invocations[1:])
    size = archive.stat().st_size / 1_000_000
    return f"{size:.1f} MB | {init:.2f} s | {first:.3f} s | {later:.3f} s"


def main() -> None:
    """Print the size, the time to start and to invoke, for both drivers, as the median of some cold starts."""
    rows = {"obstore": ("--without-boto3",), "boto3": ()}
    print("| Driver | Archive | Initialisation | First invocation | Later invocations |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, LocalServer(Path(directory, "s3")) as server:
        for driver, options in rows.items():
            archive, task_root = Path(directory, f"{driver}.zip"), Path(directory, driver)
            build(archive, *options)
            zipfile.ZipFile(archive).extractall(task_root)
            variables = {**server.environment(), "S3DICT_ENVIRONMENT": "prod", "S3DICT_DRIVER": driver}
            events = [{"page": "home"}] * 5
            invoke(task_root, events, variables)  # creates the dict, and has the files read once
            runs = [invoke(task_root, events, variables) for _ in range(_COLD_STARTS)]
            print(f"| `{driver}` | {report(archive, runs)} |", flush=True)
    print(
        f"\nMedian of {_COLD_STARTS} cold starts, Python {platform.python_version()}, {os.cpu_count()} CPUs, SeaweedFS"
    )


if __name__ == "__main__":
    main()
