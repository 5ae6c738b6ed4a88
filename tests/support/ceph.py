"""Ceph's RADOS Gateway on one machine: an S3 server that applies lifecycle rules, with days of a few seconds.

    with CephGateway(tmp_path, access_key="…", secret_key="…", day_seconds=4) as gateway:
        client = boto3.client("s3", endpoint_url=gateway.url, ...)

It takes three daemons: a monitor, one OSD that keeps everything in memory, and the gateway. They are Debian's packages,
some 200 MB, which the first use installs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from s3dict.testing.seaweedfs import ParentBoundProcess, _free_port

__all__ = ["CephGateway"]

_HOST = "127.0.0.1"
_PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_INSTALL_SECONDS = 900.0
_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LOG_TAIL_CHARACTERS = 2000
_NO_SERVICES = Path("/usr/sbin/policy-rc.d")
"""While it says 101, what Debian installs does not start by itself."""
_SWEPT = re.compile(r"DELETED::?[^\[]*\[[^\]]*\]\)?:(\S+)")

_CONFIGURATION = """
[global]
fsid = {cluster}
mon_host = [v2:{host}:{monitor_port},v1:{host}:{older_monitor_port}]
mon_initial_members = a
public_addr = {host}
cluster_addr = {host}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = {directory}
admin_socket =
log_file = {directory}/$name.log
crash_dir = {directory}/crash
heartbeat_file =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
ms_mon_client_mode = crc
[mon]
mon_data = {directory}/mon
[osd]
osd_data = {directory}/osd
osd_journal =
osd_objectstore = memstore
osd_crush_initial_weight = 1
osd_class_update_on_start = false
memstore_device_bytes = 2147483648
[client]
rgw_frontends = beast endpoint={host}:{port} tcp_nodelay=1
rgw_data = {directory}/rgw
rgw_lc_debug_interval = {day_seconds}
rgw_lc_max_worker = 1
rgw_lc_max_wp_worker = 1
debug_rgw = 2/2
"""


class CephGateway:
    """A gateway on a free port of 127.0.0.1, with one user.

    A day of its lifecycle is `day_seconds` long, and it sweeps once in each. It ends when the test process ends, in
    whatever way, and takes what it stored with it. Its files and logs lie in `directory`, which is empty at first.

    Raises:
        RuntimeError: it could not be installed or started; the message says why.
    """

    def __init__(self, directory: Path, *, access_key: str, secret_key: str, day_seconds: int) -> None:
        _install()
        self._directory = directory
        self._configuration = directory / "ceph.conf"
        self._cluster = str(uuid.uuid4())
        self._monitor_ports = _free_port(), _free_port()
        port = _free_port()
        self.url = f"http://{_HOST}:{port}"
        self._configuration.write_text(self._configured(port, day_seconds))
        with ExitStack() as daemons:
            self._start(daemons, access_key, secret_key)
            self._daemons = daemons.pop_all()

    def __enter__(self) -> CephGateway:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """At once: there is nothing to save."""
        self._daemons.close()

    def kill(self) -> None:
        """Kill the gateway with SIGKILL; leave the servers behind it running."""
        self._gateway.end(signal.SIGKILL)

    def start(self) -> None:
        """Start the gateway again, with the same data; return when it responds."""
        self._serve(self._daemons)

    def swept(self) -> list[str]:
        """The paths of all objects that the lifecycle has deleted so far, in that order."""
        log = (self._directory / "client.rgw.a.log").read_text(errors="replace")
        return _SWEPT.findall(log)

    def version(self) -> int:
        """The major one, as in 16."""
        said = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True).stdout
        return int(said.removeprefix("ceph version ").partition(".")[0])

    def _configured(self, port: int, day_seconds: int) -> str:
        monitor_port, older_monitor_port = self._monitor_ports
        return _CONFIGURATION.format(
            cluster=self._cluster,
            host=_HOST,
            port=port,
            monitor_port=monitor_port,
            older_monitor_port=older_monitor_port,
            directory=self._directory,
            day_seconds=day_seconds,
        )

    def _start(self, daemons: ExitStack, access_key: str, secret_key: str) -> None:
        for name in ("mon", "osd", "rgw", "crash"):
            (self._directory / name).mkdir()
        self._make_monitor()
        self._launch(daemons, "ceph-mon", "-i", "a")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk, "0")
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", disk)
        self._launch(daemons, "ceph-osd", "-i", "0")
        # The first request to the cluster makes its pools, and waits until the OSD serves them.
        keys = (f"--access-key={access_key}", f"--secret-key={secret_key}")
        self._run("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)
        self._serve(daemons)

    def _serve(self, daemons: ExitStack) -> None:
        self._gateway = self._launch(daemons, "radosgw", "-n", "client.rgw.a")
        self._wait_until_ready(self._gateway)

    def _make_monitor(self) -> None:
        addresses = "[v2:{0}:{1},v1:{0}:{2}]".format(_HOST, *self._monitor_ports)
        monmap = str(self._directory / "monmap")
        release = ("--set-min-mon-release", "pacific")
        self._run("monmaptool", "--create", "--fsid", self._cluster, "--addv", "a", addresses, *release, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)

    def _launch(self, daemons: ExitStack, *command: str) -> ParentBoundProcess:
        with self._log(command[0]).open("ab") as log:
            process = ParentBoundProcess([*command, "-f"], self._directory, self._environment(), log)
        daemons.callback(process.end, signal.SIGKILL)
        return process

    def _run(self, *command: str) -> None:
        environment = self._environment()
        _run(command, environment, _START_SECONDS, f"Ceph did not start in {self._directory}")

    def _environment(self) -> dict[str, str]:
        """All of Ceph's programs find their configuration here; what the shell has set of Python is not for them."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CEPH_", "PYTHON"))}
        return kept | {"CEPH_CONF": str(self._configuration)}

    def _wait_until_ready(self, gateway: ParentBoundProcess) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if not gateway.is_running() or time.monotonic() > deadline:
                log = self._log("radosgw").read_text(errors="replace")
                raise RuntimeError(f"radosgw did not start:\n{log[-_LOG_TAIL_CHARACTERS:]}")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _log(self, program: str) -> Path:
        return self._directory / f"{program}.out"


def _install() -> None:
    if all(map(shutil.which, _PROGRAMS)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(
            f"The tests with --ceph need the Debian packages {' '.join(_PACKAGES)}. To install them takes apt-get and "
            "root: run the tests as root once, or install them yourself"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services_started():
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *_PACKAGES)):
            command = ("apt-get", "--quiet", *arguments)
            _run(command, environment, _INSTALL_SECONDS, "Ceph could not be installed")


@contextmanager
def _no_services_started() -> Iterator[None]:
    if _NO_SERVICES.exists():
        yield
        return
    _NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
    _NO_SERVICES.chmod(0o755)
    try:
        yield
    finally:
        _NO_SERVICES.unlink()


def _run(command: tuple[str, ...], environment: dict[str, str], seconds: float, failure: str) -> None:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{failure}: {' '.join(command)} took longer than {seconds} s") from error
    if done.returncode:
        output = (done.stdout + done.stderr)[-_LOG_TAIL_CHARACTERS:]
        raise RuntimeError(f"{failure}: {' '.join(command)}\n{output}")
