"""All groups of commands as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .. import __version__
from . import DEBUG, dicts, entries, garbage, local, provision, transfer

app = typer.Typer(
    name="s3dict",
    help="A Python dict that lives in an S3 bucket.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"s3dict {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 (handled by its callback)
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show each request, and the traceback of an error.")] = False,
) -> None:
    if os.environ.get("NO_COLOR"):
        context.color = False
    if debug:
        # The traceback is shown by `main`.
        context.with_resource(_shown_requests())


@contextmanager
def _shown_requests() -> Iterator[None]:
    """Has the debug lines of s3dict, and of nobody else, go to stderr."""
    import logging

    logger, handler = logging.getLogger("s3dict"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)


for group in (dicts, entries, transfer, garbage, provision, local):
    app.add_typer(group.app)
