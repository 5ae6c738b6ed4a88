"""The command."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

from s3dict import Error

from .bitmaps import BOXES_PER_CHUNK

try:
    import typer

    from ..bucket import some_bucket
    from .board import shared_boxes
    from .servers import listen, run_servers
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 's3-shared-dict[examples]'")


def main(
    boxes: Annotated[int, typer.Option(help=f"A multiple of {BOXES_PER_CHUNK:,}.", min=BOXES_PER_CHUNK)] = 100_000,
    servers: Annotated[int, typer.Option(help="How many processes, each at a port of its own.", min=1)] = 2,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets in other machines, such as your phone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the first server; 0 picks free ones.", min=0, max=65535)] = 8000,
) -> None:
    """Serve checkboxes that everybody shares, from the bucket that S3DICT_BUCKET names or from a temporary one."""
    if boxes % BOXES_PER_CHUNK:
        raise typer.BadParameter(f"{boxes:,} is no multiple of {BOXES_PER_CHUNK:,}", param_hint="--boxes")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sockets = listen(host, port, servers)
    with some_bucket() as where:
        shared_boxes().hydrate()
        print(f"{boxes:,} boxes in {where}. Ctrl-C ends it.", flush=True)
        run_servers(sockets, boxes)


if __name__ == "__main__":
    try:
        typer.run(main)
    except Error as error:
        sys.exit(f"checkboxes: {error}")
