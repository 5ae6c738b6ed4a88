"""The bucket that an example uses."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Error
from ..testing.seaweedfs import LocalServer

__all__ = ["example_bucket", "run_example"]


@contextmanager
def example_bucket() -> Iterator[str]:
    """Provide the bucket that ``S3DICT_BUCKET`` names, or one on a local S3 server in a temporary folder.

    This process and its children connect to it with ``Client.from_env()``.

    Yields:
        A description of the bucket for the user.
    """
    configured = os.environ.get("S3DICT_BUCKET")
    if configured:
        yield f"the bucket {configured}"
        return
    with (
        tempfile.TemporaryDirectory(prefix="s3dict-example-") as directory,
        LocalServer(Path(directory)) as server,
    ):
        os.environ.update(server.environment())
        yield f"a temporary S3 server at {server.endpoint_url}, deleted at exit"
        server.kill()  # faster than a clean shutdown, and its data is deleted with the folder


def run_example(main: Callable[[], None]) -> None:
    """Run the program; an error, such as a missing bucket, is one line."""
    try:
        main()
    except Error as error:
        sys.exit(f"s3dict: {error}")
