"""All groups of commands as one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from .. import __version__
from . import DEBUG, dicts, entries, garbage, local, locks, monitor, provision, rekey, transfer
from .messages import usage_message
from .narrow_help import is_narrow, print_help
from .output import print_error
from .progress import is_dumb_terminal

_HELP_OPTIONS = {"help_option_names": ["--help", "-h"]}


class _HasHelp:
    """Types are named only where they say something, not ``<bool>`` for a flag; a narrow terminal gets one column."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters = super().get_params(ctx)  # type: ignore[misc] # of the command
        return [_without_obvious_type(parameter) for parameter in parameters]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        if is_narrow():
            print_help(self, ctx)
        else:
            super().format_help(ctx, formatter)  # type: ignore[misc] # of the command


class _Command(_HasHelp, TyperCommand):
    """A command."""


class _Group(_HasHelp, TyperGroup):
    """All commands: they print wrong arguments and interruptions as they print errors, on one line."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            print_error("Not confirmed. Pass --yes to skip the question")
            sys.exit(1)
        except Exception as error:
            if hasattr(error, "format_message"):
                _fail_usage(error)
            raise
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            if sys.stderr.isatty():
                print(file=sys.stderr)  # the terminal has shown ^C on this line
            print_error(". ".join(["Interrupted", *getattr(interrupt, "__notes__", ())]))
            raise


def _fail_usage(error: Any) -> NoReturn:
    print_error(usage_message(error))
    sys.exit(error.exit_code)


def _without_obvious_type(parameter: Any) -> Any:
    if isinstance(parameter, TyperArgument):
        parameter.display_type_rich = lambda ctx: ""  # type: ignore[method-assign] # noqa: ARG005
    elif parameter.is_flag:
        parameter.metavar = ""
    return parameter


app = typer.Typer(
    cls=_Group,
    name="s3dict",
    help="A Python dict that lives in an S3 bucket.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=_HELP_OPTIONS,
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
    if os.environ.get("NO_COLOR") or is_dumb_terminal():
        context.color = False
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    if debug:
        # The traceback is shown by `main`.
        context.with_resource(_shown_requests())


@contextmanager
def _shown_requests() -> Iterator[None]:
    """Print the debug lines of s3dict, and of no other library, to stderr."""
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


for group in (dicts, entries, locks, monitor, transfer, rekey, garbage, provision, local):
    for command in group.app.registered_commands:
        command.cls = _Command
    app.add_typer(group.app)
