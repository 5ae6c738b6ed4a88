"""Facts in the pages: commands, settings, errors, links and sizes."""

from __future__ import annotations

import inspect
import itertools
import re
from urllib.parse import urlsplit

import pytest

import s3dict
from s3dict import Client
from s3dict import _client as client
from s3dict import _config as config

from .pages import GUIDE, PAGES, README, ROOT, anchors, links, snippets, table
from .test_snippets import OMITTED_IMPORT

TEXT = README.read_text(encoding="utf-8")
DEMO_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q '.[local]' && .venv/bin/s3dict demo"
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -n 3"
MAX_README_LINES, MAX_README_BYTES, MAX_GUIDE_BYTES = 250, 16 * 1024, 24 * 1024


def test_readme_begins_with_two_commands_of_one_line() -> None:
    assert [snippet.code.strip() for snippet in snippets(TEXT, "sh")[:2]] == [DEMO_COMMAND, TEST_COMMAND]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "command=$(grep -m1 -- '-m pytest' README.md)" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert next(line for line in TEXT.splitlines() if "-m pytest" in line) == TEST_COMMAND


def test_readme_is_short() -> None:
    assert TEXT.count("\n") <= MAX_README_LINES
    assert len(TEXT.encode()) <= MAX_README_BYTES


@pytest.mark.parametrize("page", [name for name, path in PAGES.items() if path.parent == GUIDE])
def test_guide_page_is_short(page: str) -> None:
    assert len(PAGES[page].read_bytes()) <= MAX_GUIDE_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_links_have_targets(page: str) -> None:
    """Links to other hosts are not followed."""
    for link in links(PAGES[page].read_text(encoding="utf-8")):
        url = urlsplit(link)
        if url.scheme:
            continue
        target = (PAGES[page].parent / url.path).resolve() if url.path else PAGES[page]
        assert target.exists(), f"{page}: {link}"
        assert target.is_relative_to(ROOT), f"{page}: {link}"
        if url.fragment:
            assert url.fragment in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_index_of_the_guide_links_to_every_page() -> None:
    pages = {path.name for path in PAGES.values() if path.parent == GUIDE}
    assert set(links((GUIDE / "README.md").read_text(encoding="utf-8"))) >= pages - {"README.md"}


def test_readme_links_to_every_other_readme_and_guide_page() -> None:
    pages = {name for name, path in PAGES.items() if path.parent == GUIDE or path.name == "README.md"}
    linked = {link.partition("#")[0] for link in links(TEXT)}
    examples = {name for name in pages if name.startswith("terraform/examples/")}
    assert pages - examples - {"README.md"} <= linked


def installed_names(text: str) -> set[str]:
    """Return what the text passes to pip install, without extras and versions."""
    arguments = re.findall(r"\bpip3? install\b([^\n`&;|]*)", text)
    words = itertools.chain.from_iterable(line.split() for line in arguments)
    return {re.split(r"[\[<>=~!@]", word.strip("'\"."))[0] for word in words}


def test_no_page_installs_the_unrelated_distribution_s3dict() -> None:
    assert "s3dict" in installed_names("`pip install -U 's3dict[cli]>=1'`")
    for page in PAGES.values():
        assert "s3dict" not in installed_names(page.read_text(encoding="utf-8"))
    assert "`s3-shared-dict`" in TEXT


def test_pages_name_the_import_that_snippets_omit() -> None:
    for page in (README, GUIDE / "README.md"):
        assert f"`{OMITTED_IMPORT}`" in page.read_text(encoding="utf-8")


def test_settings_table_has_every_setting() -> None:
    source = "".join(map(inspect.getsource, (config, client)))
    variables = set(re.findall(r"\"((?:S3DICT|AWS)_[A-Z_]*[A-Z])\"", source))
    variables |= {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION"}
    arguments = set(inspect.signature(Client).parameters)
    rows = table(README, "Environment variable")
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == variables
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[1])} == arguments


def test_settings_table_has_the_defaults() -> None:
    parameters = inspect.signature(Client).parameters
    shown = {row[1].strip("`"): row[2].strip("`") for row in table(README, "Environment variable")}
    for name in ("prefix", "environment_name", "driver", "concurrency"):
        assert shown[name] == str(parameters[name].default)
    assert shown["timeout"] == f"{parameters['timeout'].default.total_seconds():g}"


def test_errors_table_has_every_error_and_its_base_classes() -> None:
    rows = table(GUIDE / "errors.md", "Error")
    for name, bases, *_ in rows:
        actual = [f"`{base.__name__}`" for base in getattr(s3dict.errors, name.strip("`")).__bases__]
        assert bases.split() == [base for base in actual if base != "`Error`"]
    errors = {f"`{name}`" for name in s3dict.errors.__all__ if name not in ("Error", "BlockingCallWarning")}
    assert {row[0] for row in rows} == errors
