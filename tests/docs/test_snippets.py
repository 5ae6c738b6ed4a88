"""The Python snippets of all pages are executed on a real S3 server.

In a snippet, ``expression  # -> value`` states the value of the line, and ``statement  # raises SomeError`` the
exception. The snippets of one section run in order, in one namespace and under one prefix; tests that a snippet defines
are run by pytest.
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
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest

import s3dict

from ..support.modes import Endpoint
from .pages import GUIDE, PAGES, README, ROOT, Snippet, snippets

SHOWS, RAISES = "# -> ", "# raises "
OMITTED_IMPORT = "from s3dict import Client, Dict"
PYTHON = {
    name: found for name, page in PAGES.items() if (found := snippets(page.read_text(encoding="utf-8"), "python"))
}


class _Checker(ast.NodeTransformer):
    """Replaces each statement that has a comment with a check of what the comment states."""

    def __init__(self, code: str) -> None:
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
        self.unchecked = {line: comment for line, comment in comments.items() if comment.startswith((SHOWS, RAISES))}

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)  # inner statements first: a block ends on the line of its last statement
        comment = self.unchecked.pop(node.end_lineno or 0, None) if isinstance(node, ast.stmt) else None
        return node if comment is None or not isinstance(node, ast.stmt) else _check(node, comment)


def _check(statement: ast.stmt, comment: str) -> ast.stmt:
    shows = comment.startswith(SHOWS)
    source = f"_shows({comment[len(SHOWS) :]})" if shows else f"with _raises({comment[len(RAISES) :]!r}): pass"
    check = ast.parse(source).body[0]
    for node in ast.walk(check):
        ast.copy_location(node, statement)
    if isinstance(check, ast.With):
        check.body = [statement]
    else:
        assert isinstance(check, ast.Expr)
        assert isinstance(check.value, ast.Call)
        assert isinstance(statement, ast.Expr), f"line {statement.lineno} has no value that {comment!r} could show"
        check.value.args.insert(0, statement.value)
    return check


def _shows(actual: object, expected: object) -> None:
    # Compared as text: 1, 1.0 and True are equal, but the page must not show one for the other.
    assert repr(actual) == repr(expected)


def _raises(name: str) -> Any:
    error: type[Exception] = getattr(s3dict, name, None) or getattr(builtins, name)
    return pytest.raises(error)


def fresh_namespace() -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__", "_shows": _shows, "_raises": _raises}
    exec(OMITTED_IMPORT, namespace)
    return namespace


def execute(snippet: Snippet, namespace: dict[str, Any], page: Path = README) -> None:
    checker = _Checker(snippet.code)
    tree = checker.visit(ast.parse(snippet.code))
    assert checker.unchecked == {}
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    result = eval(compile(tree, str(page), "exec", flags=flags, dont_inherit=True), namespace)
    if inspect.iscoroutine(result):
        asyncio.run(result)


@pytest.mark.parametrize("page", PYTHON)
def test_snippets_have_the_results_that_they_show(
    page: str, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", seaweedfs.bucket)
    monkeypatch.setenv("S3DICT_ENDPOINT_URL", seaweedfs.url)
    level = logging.getLogger("s3dict").level
    try:
        for number, (_, section) in enumerate(itertools.groupby(PYTHON[page], lambda snippet: snippet.section)):
            monkeypatch.setenv("S3DICT_PREFIX", f"{page.replace('/', '-')}-{os.getpid()}-{number}")
            namespace = fresh_namespace()
            for snippet in section:
                execute(snippet, namespace, PAGES[page])
    finally:
        logging.getLogger("s3dict").setLevel(level)


def test_tests_that_snippets_define_pass(tmp_path: Path) -> None:
    shown = [snippet.code for found in PYTHON.values() for snippet in found if snippet.defines_tests]
    assert shown
    for number, code in enumerate(shown):
        (tmp_path / f"test_shown_{number}.py").write_text(f"{OMITTED_IMPORT}\n{code}", encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_commands_of_the_guide_succeed(seaweedfs: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that name a bucket of the reader's are left out."""
    monkeypatch.setenv("S3DICT_BUCKET", seaweedfs.bucket)
    monkeypatch.setenv("S3DICT_ENDPOINT_URL", seaweedfs.url)
    monkeypatch.setenv("S3DICT_PREFIX", f"commands-{os.getpid()}")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    pages = [(GUIDE / name).read_text(encoding="utf-8") for name in ("command-line.md", "backup.md")]
    found = [snippet for page in pages for snippet in snippets(page, "sh")]
    commands = [snippet.code for snippet in found if "--bucket" not in snippet.code]
    script = "\n".join(("set -euo pipefail", *commands))
    ran = subprocess.run(["bash", "-xc", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {"3", "2", "mine", "me"} <= set(ran.stdout.split())


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
def test_wrong_snippet_fails(wrong: str) -> None:
    # pytest.fail, by which pytest.raises reports that nothing was raised, is not an Exception.
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        execute(Snippet("python", "", wrong), fresh_namespace())
