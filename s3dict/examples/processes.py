"""How the examples start processes."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def process_context() -> ForkServerContext:
    """Return a context whose processes start quickly: each is forked from a server that has imported the driver.

    Call it after the environment variables are set: the fork server inherits them when it starts.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["boto3", "s3dict"])
    return context
