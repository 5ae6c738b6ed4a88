"""README.md is true: its snippets give what they say on a real S3, and its commands and settings are the real ones.

In a snippet, ``expression  # -> value`` says what the line gives, ``statement  # raises SomeError`` how it ends. The
snippets of one ``##`` section run in order, in one namespace; tests that they define are run by pytest.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import io
import itertools
import logging
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import s3dict
from s3dict import Client
from s3dict import _client as client
from s3dict import _config as config
from s3dict._stores.boto import requests as s3

from ..support.modes import Endpoint

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")

SHOWS, RAISES = "# -> ", "# raises "
LEFT_OUT = "from s3dict import Client, Dict"
DEMO_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q '.[local]' && .venv/bin/s3dict demo"
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n 3"

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block. Its code stands on the lines on which README.md has it, for the sake of tracebacks."""

    language: str
    section: str
    code: str

    @property
    def defines_tests(self) -> bool:
        return re.search(r"^def test_|^class Test", self.code, re.MULTILINE) is not None


def snippets(text: str, language: str) -> list[Snippet]:
    return [snippet for snippet in _blocks(text) if snippet.language == language]


def _blocks(text: str) -> Iterator[Snippet]:
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        above = text[: block.start(2)]
        titles = re.findall(r"^## (.+)$", above, re.MULTILINE)
        yield Snippet(block[1], titles[-1] if titles else "", "\n" * above.count("\n") + block[2])


class _Checker(ast.NodeTransformer):
    """Turns what a comment says of its statement into a check of it."""

    def __init__(self, code: str) -> None:
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
        self.unchecked = {line: said for line, said in comments.items() if said.startswith((SHOWS, RAISES))}

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)  # what is inside comes first: a block ends on the line of its last statement
        said = self.unchecked.pop(node.end_lineno or 0, None) if isinstance(node, ast.stmt) else None
        return node if said is None or not isinstance(node, ast.stmt) else _check(node, said)


def _check(statement: ast.stmt, said: str) -> ast.stmt:
    shows = said.startswith(SHOWS)
    source = f"_shows({said[len(SHOWS) :]})" if shows else f"with _raises({said[len(RAISES) :]!r}): pass"
    check = ast.parse(source).body[0]
    for node in ast.walk(check):
        ast.copy_location(node, statement)
    if isinstance(check, ast.With):
        check.body = [statement]
    else:
        assert isinstance(check, ast.Expr)
        assert isinstance(check.value, ast.Call)
        assert isinstance(statement, ast.Expr), f"README.md:{statement.lineno} gives nothing that {said!r} could show"
        check.value.args.insert(0, statement.value)
    return check


def _shows(actual: object, expected: object) -> None:
    # As text: 1, 1.0 and True are equal, but a reader would not be shown the one for the other.
    assert repr(expected) == repr(actual)


def _raises(name: str) -> Any:
    error: type[Exception] = getattr(s3dict, name, None) or getattr(builtins, name)
    return pytest.raises(error)


def fresh_namespace() -> dict[str, Any]:
    assert f"`{LEFT_OUT}`" in TEXT
    namespace: dict[str, Any] = {"__name__": "__main__", "_shows": _shows, "_raises": _raises}
    exec(LEFT_OUT, namespace)
    return namespace


def execute(snippet: Snippet, namespace: dict[str, Any]) -> None:
    checker = _Checker(snippet.code)
    tree = checker.visit(ast.parse(snippet.code))
    assert {} == checker.unchecked
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    result = eval(compile(tree, str(README), "exec", flags=flags, dont_inherit=True), namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


PYTHON = snippets(TEXT, "python")
SECTIONS = list(dict.fromkeys(snippet.section for snippet in PYTHON))


@pytest.fixture
def place(seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `s3dict dev` tells to export, with a prefix that nobody else uses."""
    monkeypatch.setenv("S3DICT_BUCKET", seaweedfs.bucket)
    monkeypatch.setenv("S3DICT_ENDPOINT_URL", seaweedfs.url)
    monkeypatch.setenv("S3DICT_PREFIX", f"readme-{os.getpid()}-{next(_numbers)}")
    yield
    logging.getLogger("s3dict").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_snippets_of_a_section_give_what_they_say(section: str) -> None:
    namespace = fresh_namespace()
    for snippet in PYTHON:
        if snippet.section == section:
            execute(snippet, namespace)


def test_the_tests_that_snippets_define_pass(tmp_path: Path) -> None:
    shown = [snippet.code for snippet in PYTHON if snippet.defines_tests]
    assert shown
    for number, code in enumerate(shown):
        (tmp_path / f"test_shown_{number}.py").write_text(f"{LEFT_OUT}\n{code}", encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        "1 + 1  # -> 3",
        "1  # -> True",
        "None  # -> 'nothing'",
        "x = 1  # -> 1",
        "if True:\n    2  # -> 3",
        "async def two(): return 2\nawait two()  # -> 3",
        "int('1')  # raises ValueError",
        "int('one')  # raises KeyError",
        "(1,\n2  # -> 2\n)",
        "int('one')",
    ],
)
def test_a_wrong_snippet_is_found_out(wrong: str) -> None:
    # pytest.fail, by which pytest.raises finds out that nothing was raised, is no Exception.
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        execute(Snippet("python", "", wrong), fresh_namespace())


def test_it_begins_with_two_commands_each_on_one_line() -> None:
    assert [DEMO_COMMAND, TEST_COMMAND] == [snippet.code.strip() for snippet in snippets(TEXT, "sh")[:2]]


def test_ci_runs_the_command_that_it_shows_for_the_tests() -> None:
    assert "command=$(grep -m1 -- '-m pytest' README.md)" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert TEST_COMMAND == next(line for line in TEXT.splitlines() if "-m pytest" in line)


def installed_names(text: str) -> set[str]:
    """What the text tells to install with pip, without extras and versions."""
    arguments = re.findall(r"\bpip3? install\b([^\n`&;|]*)", text)
    words = itertools.chain.from_iterable(line.split() for line in arguments)
    return {re.split(r"[\[<>=~!@]", word.strip("'\"."))[0] for word in words}


def test_nobody_is_told_to_install_the_s3dict_of_somebody_else() -> None:
    assert "s3dict" in installed_names("`pip install -U 's3dict[cli]>=1'`")
    assert "s3dict" not in installed_names(TEXT)
    assert "`s3-shared-dict`" in TEXT


def table(header: str) -> list[list[str]]:
    """The cells of the table that begins with this column, row by row."""
    lines = TEXT[TEXT.index(f"| {header} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_setting_is_in_the_table() -> None:
    source = "".join(map(inspect.getsource, (config, client, s3)))
    variables = set(re.findall(r"environ\.get\(\"(\w+)\"", source))
    arguments = set(inspect.signature(Client).parameters)
    rows = table("Environment variable")
    assert variables == {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert arguments == {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}


def test_the_table_tells_the_defaults() -> None:
    parameters = inspect.signature(Client).parameters
    told = {row[1].strip("`"): row[2].strip("`") for row in table("Environment variable")}
    for name in ("prefix", "environment_name", "driver", "concurrency"):
        assert str(parameters[name].default) == told[name]
    assert f"{parameters['timeout'].default.total_seconds():g}" == told["timeout"]


def test_the_errors_in_the_table_are_what_it_says() -> None:
    for name, also, *_ in table("Error"):
        bases = getattr(s3dict, name.strip("`")).__bases__
        assert also.split() == [f"`{base.__name__}`" for base in bases if base.__module__ == "builtins"]


def test_every_link_within_the_page_leads_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
