"""A tour of the main features: the code shown is the source of what runs, the results are real."""

from __future__ import annotations

import array
import ast
import asyncio
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import PIPE, Popen, run
from textwrap import dedent
from typing import Any

from rich.console import Console
from rich.pretty import pretty_repr
from rich.syntax import Syntax

from .. import Dict
from .output import console, encodable

__all__ = ["run_demo"]

_IMPORTS = """\
import array, asyncio, sys
from subprocess import PIPE, Popen, run
from textwrap import dedent
from typing import Any
from s3dict import Dict"""


@dataclass(frozen=True)
class _Step:
    """A function: its docstring is the prose, its body the code. ``is_expected`` judges what it returns."""

    function: Callable[[], Any]
    is_expected: Callable[[Any], bool]


def run_demo() -> bool:
    """Run the steps on the store that the environment names, and print them.

    Returns:
        Whether every step returned the expected result. The first that did not is the last.
    """
    terminal = console()
    terminal.print("[bold]s3dict[/bold]: a Python dict that lives in an S3 bucket.\n")
    terminal.print(_code(_IMPORTS))
    for number, step in enumerate(_steps(), start=1):
        if not _show(terminal, number, step):
            return False
    terminal.print("\n[green]Done.[/green] [bold]s3dict dev[/bold] runs a local S3 like this one, to try it yourself.")
    return True


def _show(terminal: Console, number: int, step: _Step) -> bool:
    prose, code = _read(step.function)
    terminal.print(f"\n[bold cyan]{number}.[/bold cyan] {prose}\n")
    terminal.print(_code(code))
    result = step.function()
    arrow = "→ " if encodable("→") == "→" else "->"
    terminal.print(f"{arrow}  {pretty_repr(result)}", style="green", markup=False)
    is_expected = step.is_expected(result)
    if not is_expected:
        terminal.print("This is not the expected result.", style="bold red")
    return is_expected


def _read(function: Callable[[], Any]) -> tuple[str, str]:
    """Return a function's docstring on one line, and the source of its body as one would type it in a notebook."""
    source = dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    first_line = definition.body[1].lineno - 1
    code = dedent("\n".join(source.splitlines()[first_line:]))
    without_return = re.sub(r"^return ", "", code, flags=re.MULTILINE)
    return " ".join((inspect.getdoc(function) or "").split()), without_return


def _code(source: str) -> Syntax:
    padding = (0, 0, 0, 4)
    return Syntax(source, "python", theme="ansi_dark", background_color="default", padding=padding, word_wrap=True)


def _steps() -> list[_Step]:
    has_numpy = importlib.util.find_spec("numpy") is not None
    return [
        _Step(_first_use, lambda result: result == [("alice", 3), ("bob", 4)]),
        _Step(_another_process, lambda result: result == 13),
        _Step(_asyncio, lambda result: result == 22),
        _Step(_claims, lambda result: sorted(result) == ["False", "False", "False", "True"]),
        _Step(_numpy_values if has_numpy else _array_values, lambda result: result == (49, 66)),
        _Step(_look_around, lambda result: sorted(result[0]) == ["claims", "scores", "things"]),
        _Step(_clean_up, lambda result: result == []),
    ]


# The functions below are shown to the reader: lines of at most 79 columns, four of which are the indentation here.


def _first_use() -> list[tuple[str, int]]:
    """A dict has a name. Every process that can reach the bucket opens the same dict by it."""
    scores: Dict[str, int] = Dict.from_name("scores", create_if_missing=True)
    scores["alice"] = 3
    scores.update(bob=4)
    return sorted(scores.items())


def _another_process() -> int:
    """Another process, here or on another machine, adds 10. modify is atomic: no concurrent change is lost."""
    program = dedent("""
        from s3dict import Dict
        Dict.from_name("scores").modify("alice", lambda n: n + 10)
    """)
    run([sys.executable, "-c", program], check=True)
    scores: Dict[str, int] = Dict.from_name("scores")
    return scores["alice"]


def _asyncio() -> int:
    """Every method has an async variant, .aio. Here are twenty concurrent puts."""

    async def play() -> int:
        scores: Dict[str, int] = Dict.from_name("scores")
        puts = [scores.put.aio(f"guest-{n}", n) for n in range(20)]
        await asyncio.gather(*puts)
        return await scores.len.aio()

    return asyncio.run(play())


def _claims() -> list[str]:
    """put(skip_if_exists=True) is atomic: of four processes that claim a job, exactly one gets True."""
    Dict.objects.create("claims")
    program = dedent("""
        import os
        from s3dict import Dict
        claims = Dict.from_name("claims")
        print(claims.put("job", os.getpid(), skip_if_exists=True))
    """)
    command = [sys.executable, "-c", program]
    claimants = [Popen(command, stdout=PIPE, text=True) for _ in range(4)]
    return [claimant.communicate()[0].strip() for claimant in claimants]


def _numpy_values() -> tuple[int, int]:
    """A value is anything that cloudpickle can serialize: a lambda, a NumPy array."""
    import numpy as np

    things: Dict[str, Any] = Dict.from_name("things", create_if_missing=True)
    things["square"] = lambda x: x * x
    things["matrix"] = np.arange(12).reshape(3, 4)
    return things["square"](7), int(things["matrix"].sum())


def _array_values() -> tuple[int, int]:
    """A value is anything that cloudpickle can serialize: a lambda, an array (NumPy is not installed here)."""
    things: Dict[str, Any] = Dict.from_name("things", create_if_missing=True)
    things["square"] = lambda x: x * x
    things["row"] = array.array("i", range(12))
    return things["square"](7), sum(things["row"])


def _look_around() -> tuple[list[str | None], str | None]:
    """List the dicts, newest first, and show who created one of them."""
    names = [found.name for found in Dict.objects.list()]
    info = Dict.from_name("scores").info()
    return names, info.created_by


def _clean_up() -> list[Dict[Any, Any]]:
    """Deleting a dict deletes its entries as well."""
    for name in ("scores", "claims", "things"):
        Dict.objects.delete(name)
    return Dict.objects.list()
