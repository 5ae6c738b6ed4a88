"""Where an example keeps its dicts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..testing.seaweedfs import LocalServer

__all__ = ["some_bucket"]


@contextmanager
def some_bucket() -> Iterator[str]:
    """The bucket that the environment names; if it names none, one on a real S3 that runs here, in a temporary folder.

    This process and its children reach it with ``Client.from_env()``.

    Returns:
        Where that is, in words.
    """
    named = os.environ.get("S3DICT_BUCKET")
    if named:
        yield f"the bucket {named}"
        return
    with (
        tempfile.TemporaryDirectory(prefix="s3dict-example-") as directory,
        LocalServer(Path(directory)) as server,
    ):
        os.environ.update(server.environment())
        yield f"a temporary S3 at {server.endpoint_url}, which goes when this ends"
        server.kill()  # sooner than a clean end, and its data goes with the folder
