"""The command."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

from .bitmaps import BOXES_PER_CHUNK

try:
    import typer

    from ..bucket import example_bucket, run_example
    from .board import shared_boxes
    from .servers import listen, run_servers
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 's3-shared-dict[examples]'")


def main(
    boxes: Annotated[int, typer.Option(help=f"A multiple of {BOXES_PER_CHUNK:,}.", min=BOXES_PER_CHUNK)] = 100_000,
    servers: Annotated[int, typer.Option(help="Number of server processes, each on its own port.", min=1)] = 2,
    host: Annotated[
        str, typer.Option(help="0.0.0.0 accepts connections from other machines, such as your phone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the first server; 0 picks free ports.", min=0, max=65535)] = 8000,
) -> None:
    """Serve checkboxes that all visitors share, stored in the bucket S3DICT_BUCKET or in a temporary one."""
    if boxes % BOXES_PER_CHUNK:
        raise typer.BadParameter(f"{boxes:,} is not a multiple of {BOXES_PER_CHUNK:,}", param_hint="--boxes")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sockets = listen(host, port, servers)
    with example_bucket() as description:
        shared_boxes().hydrate()
        print(f"{boxes:,} boxes in {description}. Stop with Ctrl-C.", flush=True)
        run_servers(sockets, boxes)


if __name__ == "__main__":
    run_example(lambda: typer.run(main))
