"""The command ``s3dict``: one module for each group of commands.

Typer and Rich come with the extra ``cli``. Nothing imports them before ``main`` runs, so that tests have
the local server without them. What a command needs beyond them it imports when called, so that ``--help`` is quick.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import Error

if TYPE_CHECKING:
    import typer

__all__ = ["main"]

_DEBUG = "--debug"


def main() -> None:
    """Run the command line and exit: with 0 when all went well, 1 after an error, 2 for wrong arguments."""
    try:
        app = _application()
    except ModuleNotFoundError as error:
        sys.exit(f"s3dict: {error.name} is not installed: pip install 's3-shared-dict[cli]'")
    try:
        app()
    except Error as error:
        if _DEBUG in sys.argv:
            raise
        sys.exit(f"s3dict: {error}")


def _application() -> typer.Typer:
    import typer

    from . import local, provision

    app = typer.Typer(
        name="s3dict",
        help="A Python dict that lives in an S3 bucket.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )

    @app.callback()
    def options(debug: bool = typer.Option(False, _DEBUG, help="Show the traceback of an error.")) -> None:
        pass

    app.add_typer(local.app)
    app.add_typer(provision.app)
    return app
