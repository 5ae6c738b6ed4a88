"""All groups of commands as one."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from . import DEBUG, dicts, entries, garbage, local, provision, transfer

app = typer.Typer(
    name="s3dict",
    help="A Python dict that lives in an S3 bucket.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,  # noqa: ARG001 (`main` looks for it)
) -> None:
    if os.environ.get("NO_COLOR"):
        context.color = False


for group in (dicts, entries, transfer, garbage, provision, local):
    app.add_typer(group.app)
