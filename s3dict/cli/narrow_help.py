"""The help on a narrow terminal: in one column, where the table of a wide one would cut words."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from .output import console, terminal_width

__all__ = ["is_narrow", "print_help"]

_TABLE_COLUMNS = 72


def is_narrow() -> bool:
    return sys.stdout.isatty() and terminal_width() < _TABLE_COLUMNS


def print_help(command: Any, ctx: Any) -> None:
    """Print usage, description, arguments, options and commands; nothing is left out."""
    terminal = console()
    terminal.print(_text(command.get_usage(ctx)))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        terminal.print()
        terminal.print(_text(" ".join(paragraph.replace("**", "").split())))
    records = [parameter.get_help_record(ctx) for parameter in command.get_params(ctx)]
    _print_records(terminal, [record for record in records if record])
    commands = getattr(command, "commands", {})
    _print_records(terminal, [(name, found.get_short_help_str(1000)) for name, found in commands.items()])


def _print_records(terminal: Any, records: list[tuple[str, str]]) -> None:
    from rich.padding import Padding

    for names, text in records:
        terminal.print()
        terminal.print(_text(names, "bold cyan"))
        terminal.print(Padding(_text(text), (0, 0, 0, 2)))


def _text(content: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(content, style=style, overflow="fold")
