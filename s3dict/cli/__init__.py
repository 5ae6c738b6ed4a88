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

__all__ = ["DEBUG", "main"]

DEBUG = "--debug"


def main() -> None:
    """Run the command line and exit: with 0 when all went well, 1 after an error, 2 for wrong arguments."""
    try:
        app = _application()
    except ModuleNotFoundError as error:
        sys.exit(f"s3dict: {error.name} is not installed: pip install 's3-shared-dict[cli]'")
    try:
        app()
    except Error as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}. This should not happen: {DEBUG} shows where it did")


def _fail(message: str) -> None:
    """Ends with the message on one line, or with the traceback of the exception that is being handled."""
    if DEBUG in sys.argv:
        raise  # noqa: PLE0704 (called where one is)
    sys.exit("s3dict: " + " ".join(message.splitlines()))


def _application() -> typer.Typer:
    from .application import app

    return app
