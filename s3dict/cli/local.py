"""The commands that need no account: ``dev`` serves a real S3 here, ``demo`` shows a dict on one."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..testing.seaweedfs import LocalServer

app = typer.Typer()
_PANEL = "On this machine"

# Left over from other work in the shell, these would go with the server's credentials, or in their place.
_UNSET = ("AWS_SESSION_TOKEN", "AWS_PROFILE")


def _default_directory() -> Path:
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data_home) / "s3dict" / "dev"


@app.command(rich_help_panel=_PANEL)
def dev(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir",
            help="Keeps data, credentials and log.",
            file_okay=False,
            default_factory=_default_directory,
            show_default="~/.local/share/s3dict/dev, or under $XDG_DATA_HOME",
        ),
    ],
    port: Annotated[int, typer.Option(help="Where S3 listens, on 127.0.0.1.", min=1, max=65535)] = 8333,
    bucket: Annotated[str, typer.Option(help="Made when it is missing.")] = "s3dict",
) -> None:
    """Serve a real S3 (SeaweedFS) on this machine until Ctrl-C.

    Prints the `export` lines that point s3dict, boto3 and the AWS tools at it: paste them into another terminal.
    They alone go to stdout, so this works too:

        s3dict dev > dev.env &
        source dev.env

    Data and credentials are kept from one run to the next.
    """
    from ..testing.seaweedfs import LocalServer

    server = LocalServer(directory, port=port, bucket=bucket)
    with server:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _print_exports(server)
        _serve(server)


def _print_exports(server: LocalServer) -> None:
    exports = [f"export {name}={shlex.quote(value)}" for name, value in server.environment().items()]
    print(f"unset {' '.join(_UNSET)}", *exports, sep="\n", flush=True)
    prose = f"S3 is at {server.endpoint_url}, its data in {server.directory}. Ctrl-C ends it."
    print(prose, file=sys.stderr, flush=True)


def _serve(server: LocalServer) -> None:
    try:
        server.wait()
    except KeyboardInterrupt:
        print("Stopping.", file=sys.stderr)


@app.command(rich_help_panel=_PANEL)
def demo() -> None:
    """Show what a dict in a bucket does, on a real S3 in a temporary folder.

    Every result is compared with what it has to be; the exit code is 1 if one is wrong.
    """
    from ..testing.seaweedfs import LocalServer

    with (
        tempfile.TemporaryDirectory(prefix="s3dict-demo-") as directory,
        LocalServer(Path(directory)) as server,
    ):
        _point_environment_at(server)
        from .demo import run_demo

        right = run_demo()
        server.kill()  # sooner than a clean end, and its data goes with the folder
    if not right:
        raise typer.Exit(1)


def _point_environment_at(server: LocalServer) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3DICT_"))]:
        del os.environ[name]
    os.environ.update(server.environment())
