"""Where the examples run: on which store, and in what kind of processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory

from ..cli.seaweed import LocalServer


@contextmanager
def store() -> Iterator[None]:
    """The store that the environment names; where it names none, a local S3 that ends with the context."""
    if os.environ.get("S3DICT_BUCKET"):
        yield
        return
    with TemporaryDirectory(prefix="s3dict-example-") as directory:
        server = LocalServer(Path(directory)).start()
        os.environ.update(server.environment())
        try:
            yield
        finally:
            server.kill()  # sooner than a clean end, and its data goes with the folder


def processes() -> ForkServerContext:
    """Makes processes that are started quickly: all are forked from one that has the driver loaded, and nothing else.

    To be called where the store is known: that one keeps the environment which it finds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["boto3", "s3dict"])
    return context
