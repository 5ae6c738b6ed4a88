"""``s3dict dev`` and ``s3dict demo`` as a user runs them: as processes."""

from __future__ import annotations

import ast
import builtins
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3dict.cli import demo
from s3dict.testing.seaweedfs import LocalServer

pytestmark = pytest.mark.slow  # most tests start processes
COMMAND = [sys.executable, "-W", "error", "-m", "s3dict"]
LAST_EXPORT = "AWS_DEFAULT_REGION"


@contextmanager
def dev(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    # As a shell without job control starts a background process.
    ignore = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", ignore, *COMMAND, "dev", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_exports(process: subprocess.Popen[str]) -> dict[str, str]:
    """What a shell would have after sourcing the output; returns as soon as the last line is there."""
    assert process.stdout is not None
    exports: dict[str, str] = {}
    for line in process.stdout:
        command, *words = shlex.split(line)
        if command == "export":
            exports |= dict([words[0].split("=", 1)])
        if LAST_EXPORT in exports:
            break
    return exports


def s3_client(exports: dict[str, str]) -> Any:
    client: Any = boto3.session.Session().client
    return closing(
        client(
            "s3",
            endpoint_url=exports["S3DICT_ENDPOINT_URL"],
            aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
            region_name=exports["AWS_DEFAULT_REGION"],
        )
    )


def end(process: subprocess.Popen[str], how: signal.Signals) -> str:
    process.send_signal(how)
    _, prose = process.communicate(timeout=20)
    return prose


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def free_port(tmp_path: Path) -> str:
    return LocalServer(tmp_path / "for-its-port").endpoint_url.rpartition(":")[2]


def test_dev_serves_until_a_signal_and_keeps_its_data(tmp_path: Path) -> None:
    arguments = ["--dir", str(tmp_path / "dev"), "--port", free_port(tmp_path), "--bucket", "my-bucket"]
    with dev(*arguments) as process:
        first_exports = read_exports(process)
        with s3_client(first_exports) as s3:
            s3.put_object(Bucket="my-bucket", Key="key", Body=b"value")
        prose = end(process, signal.SIGINT)
        assert process.returncode == 0
        assert first_exports["S3DICT_ENDPOINT_URL"] in prose
        assert "Traceback" not in prose

    # It refuses to start while the first server, or anything that it left behind, still holds the directory.
    with dev(*arguments) as process:
        assert read_exports(process) == first_exports
        with s3_client(first_exports) as s3, s3.get_object(Bucket="my-bucket", Key="key")["Body"] as body:
            assert body.read() == b"value"
        end(process, signal.SIGTERM)
        assert process.returncode == 0


@pytest.mark.slow
def test_shell_evaluates_what_a_detached_server_prints(tmp_path: Path) -> None:
    """One line sets the shell up, `doctor` has nothing to fix, and the server goes on until it is stopped."""
    arguments = f"--dir {tmp_path / 'dev'} --port {free_port(tmp_path)}"
    start = f"{shlex.join(COMMAND)} dev --detach {arguments}"
    shell = f'eval "$({start} --env-file {tmp_path / "dev.env"})" && {shlex.join(COMMAND)} doctor && env'
    try:
        first = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        assert (first.returncode, "✗" in first.stdout) == (0, False)
        assert "replace the AWS credentials of the shell" in " ".join(first.stderr.split())
        exports = dict(line.split("=", 1) for line in first.stdout.splitlines() if line.startswith(("AWS_", "S3DICT_")))
        assert (tmp_path / "dev.env").stat().st_mode & 0o777 == 0o600
        assert exports["AWS_SECRET_ACCESS_KEY"] in (tmp_path / "dev.env").read_text(encoding="utf-8")
        with s3_client(exports) as s3:
            s3.put_object(Bucket="s3dict", Key="key", Body=b"value")
        again = subprocess.run(shlex.split(start), capture_output=True, text=True, check=False)
        assert (again.returncode, "running already" in again.stderr) == (0, True)
        assert exports["AWS_SECRET_ACCESS_KEY"] in again.stdout
    finally:
        stopped = run("dev", "--stop", "--dir", str(tmp_path / "dev"))
    assert (stopped.returncode, stopped.stderr) == (0, "Stopped.\n")
    absent = run("dev", "--stop", "--dir", str(tmp_path / "dev"))
    assert (absent.returncode, "No detached server" in absent.stderr) == (1, True)


def test_dev_reports_a_taken_port_on_one_line(tmp_path: Path) -> None:
    with LocalServer(tmp_path / "one") as server:
        port = server.endpoint_url.rpartition(":")[2]
        answer = run("dev", "--dir", str(tmp_path / "two"), "--port", port)
        server.kill()

    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("s3dict: Cannot listen")
    assert answer.stderr.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    arguments = ["dev", "--dir", str(tmp_path), "--stop"]

    assert run(*arguments).stderr == f"s3dict: No detached server is running on {tmp_path}\n"
    assert "Traceback" in run("--debug", *arguments).stderr


def test_missing_typer_is_reported_on_one_line() -> None:
    answer = run_program("import sys; sys.modules['typer'] = None; from s3dict.cli import main; main()")

    assert answer.returncode == 1
    assert answer.stderr == "s3dict: typer is not installed: pip install 's3-shared-dict[cli]'\n"


def test_help_loads_no_vendor_library() -> None:
    program = """if True:
        import sys
        from s3dict.cli import main
        sys.argv = ["s3dict", "--help"]
        try:
            main()
        finally:
            loaded = {"boto3", "botocore", "aioboto3", "obstore", "numpy", "asyncio"} & set(sys.modules)
            print("loaded:", sorted(loaded))
    """
    answer = run_program(program)

    assert "demo" in answer.stdout
    assert answer.stdout.endswith("loaded: []\n")


BARE_HELP = """
import typer
application = typer.Typer()
for name in ("one", "two"):
    application.command(name)(lambda: None)
application(["--help"])
"""


def test_help_is_quick() -> None:
    def processor_seconds(command: list[str]) -> float:
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # Beside the least that typer takes, which is 0.15 s where ours is 0.26: a busy machine slows both.
    bare = [sys.executable, "-c", BARE_HELP]
    ours = [str(Path(sys.executable).parent / "s3dict"), "--help"]
    assert min(processor_seconds(ours) for _ in range(5)) < 3 * min(processor_seconds(bare) for _ in range(5))


def test_demo_prints_all_steps() -> None:
    answer = run("demo")

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "scores.update(bob=4)" in answer.stdout
    assert "[('alice', 3), ('bob', 4)]" in answer.stdout
    assert "Done." in answer.stdout


def test_shown_code_of_the_demo_runs_when_it_is_pasted() -> None:
    shown = [demo._IMPORTS, *(demo._read(step.function)[1] for step in demo._steps())]
    nodes = [node for code in shown for node in ast.walk(ast.parse(code))]
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    assert used - bound - vars(builtins).keys() == set()


def test_demo_works_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    functions = [step.function for step in demo._steps()]

    assert demo._array_values in functions
    assert demo._numpy_values not in functions


def test_demo_stops_at_a_wrong_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def one_and_one() -> int:
        """Arithmetic."""
        return 1 + 1

    wrong = demo._Step(one_and_one, lambda result: result == 3)
    monkeypatch.setattr(demo, "_steps", lambda: [wrong, wrong])

    assert not demo.run_demo()
    assert capsys.readouterr().out.count("This is not the expected result.") == 1
