"""In what kind of processes the examples run."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext


def processes() -> ForkServerContext:
    """Makes processes that are started quickly: all are forked from one that has the driver loaded, and nothing else.

    To be called where the store is known: that one keeps the environment which it finds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["boto3", "s3dict"])
    return context
