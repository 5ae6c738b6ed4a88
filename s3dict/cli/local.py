"""The commands that need no account: ``dev`` runs a local S3 server, ``demo`` shows a dict on one."""

from __future__ import annotations

import os
import shlex
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Error, InvalidError
from .output import print_result

if TYPE_CHECKING:
    from ..testing.seaweedfs import LocalServer

app = typer.Typer()
_PANEL = "On this machine"
_PORT = 8333


def _default_directory() -> Path:
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "s3dict" / "dev"


@app.command(rich_help_panel=_PANEL)
def dev(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir",
            metavar="PATH",
            help="Keeps data, credentials and log.",
            file_okay=False,
            default_factory=_default_directory,
            show_default="~/.local/share/s3dict/dev, or under $XDG_DATA_HOME",
        ),
    ],
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Where S3 listens, on 127.0.0.1.", min=1, max=65535)
    ] = _PORT,
    bucket: Annotated[str, typer.Option(metavar="NAME", help="Created if it is missing.")] = "s3dict",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave the server running in the background, and return.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the detached server of --dir.")] = False,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Also write the variables to this file, when S3 is ready."),
    ] = None,
) -> None:
    """Run a local S3 server (SeaweedFS) until Ctrl-C, with a bucket that `s3dict init` has configured.

    `export` lines that point s3dict, boto3 and the AWS tools at it go to stdout: paste them into another terminal, or
    start the server in the background and set the variables of this shell, AWS credentials among them, in one line:

        eval "$(s3dict dev --detach)"

    Data and credentials are kept between runs.
    """
    if detach and stop:
        raise typer.BadParameter("choose one of them", param_hint="--detach, --stop")
    if stop:
        _stop(directory)
    elif detach:
        _detach(directory, port, bucket, env_file)
    else:
        _serve(directory, port, bucket, env_file)


def _serve(directory: Path, port: int, bucket: str, env_file: Path | None) -> None:
    # A shell without job control starts background processes with SIGINT ignored, which Python inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _server(directory, port, bucket) as server:
        _configure(server)
        _print_exports(server, env_file)
        print_result(f"S3 is at {server.endpoint_url}, its data in {server.directory}. Ctrl-C ends it.")
        try:
            server.wait()
        except KeyboardInterrupt:
            print_result("Stopping.")


def _detach(directory: Path, port: int, bucket: str, env_file: Path | None) -> None:
    from ..testing.seaweedfs import DetachedServer

    detached = DetachedServer(directory)
    server = _server(directory, port, bucket)
    if detached.is_running():
        print_result(f"S3 is running already, with its data in {directory}.")
        server = _server(directory, detached.port, bucket)
        _print_exports(server, env_file)
    else:
        server.start(detached=True)
        try:
            _configure(server)
            _print_exports(server, env_file)
        except BaseException:
            detached.stop()  # a command that fails leaves nothing running
            raise
    names = ", ".join(name for name in server.environment() if name.startswith("AWS_"))
    print_result(
        f"S3 is at {server.endpoint_url} in the background: s3dict dev --stop ends it. The lines on stdout replace the "
        f"AWS credentials of the shell that evaluates them ({names})."
    )


def _stop(directory: Path) -> None:
    from ..testing.seaweedfs import DetachedServer

    if not DetachedServer(directory).stop():
        raise Error(f"No detached server is running on {directory}")
    print_result("Stopped.")


def _server(directory: Path, port: int, bucket: str) -> LocalServer:
    from ..testing.seaweedfs import LocalServer

    try:
        return LocalServer(directory, port=port, bucket=bucket)
    except InvalidError as error:
        raise typer.BadParameter(str(error), param_hint="--bucket") from error


def _configure(server: LocalServer) -> None:
    """Do what ``s3dict init`` does, so that ``s3dict doctor`` finds nothing to fix."""
    from .._admin.provision import provision
    from .._client import Client

    variables = server.environment()
    session = _session(variables)
    client = Client(server.bucket, endpoint_url=server.endpoint_url, session=session, driver="boto3")
    for step in provision(client):
        if step.outcome.value == "failed":
            raise Error(f"Configuring the bucket failed: {step.name}: {step.detail}")


def _session(variables: dict[str, str]) -> Any:
    import boto3

    return boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )


def _print_exports(server: LocalServer, env_file: Path | None) -> None:
    from ..testing.variables import CONFLICTING_VARIABLES

    exports = [f"export {name}={shlex.quote(value)}" for name, value in server.environment().items()]
    lines = [f"unset {' '.join(CONFLICTING_VARIABLES)}", *exports]
    if env_file is not None:
        _write_env_file(env_file, lines)
    print(*lines, sep="\n", flush=True)


def _write_env_file(path: Path, lines: list[str]) -> None:
    """Write the file in one step, for its owner alone: it contains credentials."""
    part = path.with_name(f"{path.name}.new")
    part.touch(mode=0o600)
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(path)


@app.command(rich_help_panel=_PANEL)
def demo() -> None:
    """Show what a dict in a bucket does, on a real S3 server in a temporary folder.

    Each result is compared with the expected one; the exit code is 1 if one differs.
    """
    from ..testing.seaweedfs import LocalServer

    with (
        tempfile.TemporaryDirectory(prefix="s3dict-demo-") as directory,
        LocalServer(Path(directory)) as server,
    ):
        _point_environment_at(server)
        from .demo import run_demo

        succeeded = run_demo()
        server.kill()  # quicker than a clean shutdown, and its data is deleted with the folder
    if not succeeded:
        raise typer.Exit(1)


def _point_environment_at(server: LocalServer) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3DICT_"))]:
        del os.environ[name]
    os.environ.update(server.environment())
