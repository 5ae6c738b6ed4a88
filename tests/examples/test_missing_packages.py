"""Examples name the extra that is missing, and a missing bucket, on one line."""

from __future__ import annotations

import runpy
import sys

import pytest

PACKAGES = {"flask_app": "flask", "django_site": "django.conf", "mcp_server": "fastmcp"}


def message_of(example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the example and return the message that it exits with."""
    for name in [name for name in sys.modules if name.startswith("s3dict.examples")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"s3dict.examples.{example}", run_name="__main__")
    assert capsys.readouterr().out == ""
    return str(ended.value.code)


@pytest.mark.parametrize(("example", "package"), PACKAGES.items())
def test_example_of_a_framework_names_the_extra(
    example: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"{package} is not installed: pip install 's3-shared-dict[frameworks,local]'"
    assert message_of(example, monkeypatch, capsys) == expected


@pytest.mark.parametrize("example", ["leader", "cache", "crawler", "checkboxes"])
@pytest.mark.parametrize("package", ["rich", "typer"])
def test_example_without_the_command_line_names_the_extra(
    example: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else object())
    expected = f"{package} is not installed: pip install 's3-shared-dict[local]'"
    assert message_of(example, monkeypatch, capsys) == expected


def test_checkboxes_name_the_extra_of_the_web_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    expected = "uvicorn is not installed: pip install 's3-shared-dict[examples]'"
    assert message_of("checkboxes", monkeypatch, capsys) == expected


@pytest.mark.parametrize("example", ["leader", "cache", "crawler"])
def test_example_reports_an_error_on_one_line(
    example: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "s3://not-a-name")
    monkeypatch.setattr(sys, "argv", [example])
    assert message_of(example, monkeypatch, capsys).startswith("s3dict: Invalid bucket: 's3://not-a-name'")
