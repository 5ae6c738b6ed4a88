"""The command ``s3dict``: one module for each group of commands.

Typer and Rich come with the extra ``cli`` and are first imported by ``main``. Whatever else a command needs is imported
when it is called, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from ..errors import Error

if TYPE_CHECKING:
    import typer

__all__ = ["DEBUG", "main"]

DEBUG = "--debug"


def main() -> None:
    """Run the command line and exit: with 0 after success, 1 after an error, 2 for wrong arguments."""
    _replace_closed_streams()
    try:
        app = _application()
    except ModuleNotFoundError as error:
        sys.exit(f"s3dict: {error.name} is not installed: pip install 's3-shared-dict[cli]'")
    try:
        app()
    except Error as error:
        _fail(error)
    except OSError as error:
        reason = error.strerror or str(error)
        _fail(error, f"{error.filename}: {reason}" if error.filename else reason)
    except Exception as error:
        _fail(error, f"unexpected {type(error).__name__}: {error}. Run it with {DEBUG} for the traceback")


def _replace_closed_streams() -> None:
    """Open /dev/null for each standard stream that the shell has closed: a connection would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for the whole process)


def _fail(error: Exception, message: str | None = None) -> NoReturn:
    """Exit with the message on one line, or with the traceback of the exception that is being handled."""
    from .messages import for_terminal
    from .output import print_error

    if DEBUG in sys.argv:
        raise error
    print_error(for_terminal(error) if message is None else message)
    sys.exit(1)


def _application() -> typer.Typer:
    from .application import app

    return app
