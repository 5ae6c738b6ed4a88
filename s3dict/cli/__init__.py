"""The command ``s3dict``: one module for each group of commands.

Typer and Rich come with the extra ``cli`` and are first imported by ``main``. Whatever else a command needs is imported
when it is called, so that ``--help`` is quick.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ..errors import Error

if TYPE_CHECKING:
    import typer

__all__ = ["DEBUG", "main"]

DEBUG = "--debug"


def main() -> None:
    """Run the command line and exit: with 0 after success, 1 after an error, 2 for wrong arguments."""
    _replace_closed_streams()
    _print_whatever_the_encoding_is()
    try:
        app = _application()
    except ModuleNotFoundError as error:
        sys.exit(f"s3dict: {error.name} is not installed: pip install 's3-shared-dict[cli]'")
    try:
        _run(app)
    except BrokenPipeError:
        _discard_unwritten_output()
        sys.exit(1)
    except Error as error:
        _fail(error)
    except OSError as error:
        reason = error.strerror or str(error)
        _fail(error, f"{error.filename}: {reason}" if error.filename else reason)
    except Exception as error:
        _fail(error, f"unexpected {type(error).__name__}: {error}. Run it with {DEBUG} for the traceback")


def _run(app: typer.Typer) -> None:
    """Call the command; what it printed is written before it exits, when an error can still be reported."""
    try:
        app()
    except SystemExit:
        from .output import naming

        with naming("standard output"):
            sys.stdout.flush()
        raise


def _discard_unwritten_output() -> None:
    """Drop what stdout cannot take, so that the interpreter does not try to write it at its exit, and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError), open(os.devnull, "wb") as sink:  # a stream may have no descriptor
            os.dup2(sink.fileno(), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    """Open /dev/null for each standard stream that the shell has closed: a connection would get its number.

    It is opened so that reading stdin or writing to stdout is an error: nothing was given, and nothing would be seen.
    """
    for name, mode, access in (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, access)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: SIM115 (for the whole process)


def _print_whatever_the_encoding_is() -> None:
    """Replace what an encoding such as ASCII or cp437 lacks, such as the ellipsis of a cell that is cut."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _fail(error: Exception, message: str | None = None) -> NoReturn:
    """Exit with the message on one line, or with the traceback of the exception that is being handled."""
    from .messages import for_terminal
    from .output import print_error

    if DEBUG in sys.argv:
        raise error
    print_error(for_terminal(error) if message is None else message)
    _discard_unwritten_output()
    sys.exit(1)


def _application() -> typer.Typer:
    from .application import app

    return app
