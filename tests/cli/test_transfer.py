"""``s3dict export`` and ``import``."""

from __future__ import annotations

import enum
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict, InvalidError, NotFoundError, SerializationError, UnavailableError
from s3dict._admin import transfer
from s3dict._admin.transfer import Format, Record, put_records, read_records, write_records
from s3dict._stores.memory import MemoryBucket

from ..support.commands import answer, shown
from ..support.modes import Endpoint
from ..support.retries import quick_policies

PLAIN: dict[Any, Any] = {
    "text ü\n": "value\u2028",
    "": "",
    "null": "null",
    None: {"a": {"b": []}},
    1: None,
    2.5: [1, [2.5, True]],
    -(10**30): "large",
    ("a", (1, None)): "tuple",
    (): False,
}
PYTHON: dict[Any, Any] = {**PLAIN, b"bytes": b"\x00\n", frozenset({1}): {1: (2, 3)}, "array": bytearray(b"x")}


class Colour(enum.StrEnum):
    RED = "red"


class Touch:
    """Whoever unpickles it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.fixture
def d(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=configured).hydrate()


@pytest.fixture
def other(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("other", create_if_missing=True, client=configured).hydrate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "entries"


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BATCH", 2)


def write_lines(file: Path, entries: dict[Any, Any]) -> None:
    file.write_text("".join(json.dumps({"key": k, "value": v}) + "\n" for k, v in entries.items()), encoding="utf-8")


def fail_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store goes away after so many writes, until the test undoes it."""
    left, write = [writes], MemoryBucket.write

    def limited(self: MemoryBucket, path: str, body: Any) -> str:
        if "/entries/" in path:
            if not left[0]:
                raise UnavailableError("gone", maybe_applied=False)
            left[0] -= 1
        return write(self, path, body)

    monkeypatch.setattr(MemoryBucket, "write", limited)
    monkeypatch.setattr("s3dict._client.DEFAULT_POLICIES", quick_policies(writes=1))


@pytest.mark.parametrize(("form", "entries"), [("jsonl", PLAIN), ("pickle", PYTHON)])
def test_what_is_exported_is_imported(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, form: str, entries: dict[Any, Any]
) -> None:
    d.update(entries)
    exported = answer("export", "d", str(file), "--format", form)
    assert (0, "", f"{len(entries)} entries exported to {file}.\n") == (
        exported.exit_code,
        exported.stdout,
        exported.stderr,
    )
    imported = answer("import", "other", str(file), "--format", form)
    assert (0, f"{len(entries)} entries imported.\n") == (imported.exit_code, imported.stderr)
    assert entries == dict(other.items())
    assert sorted(map(repr, entries.values())) == sorted(map(repr, other.values()))
    assert [file.name] == os.listdir(file.parent)


@pytest.mark.parametrize("form", ["jsonl", "pickle"])
def test_pipes_are_files_too(d: Dict[Any, Any], other: Dict[Any, Any], form: str) -> None:
    d.update(PLAIN)
    exported = answer("export", "d", "--format", form)
    assert (0, "") == (exported.exit_code, exported.stderr)
    assert 0 == answer("import", "other", "-", "--format", form, stdin=exported.raw).exit_code
    assert PLAIN == dict(other.items())


def test_lines_are_json_that_other_tools_read(d: Dict[Any, Any]) -> None:
    d[("a", 1)] = {"ü": [None]}
    assert '{"key": ["a", 1], "value": {"ü": [null]}}\n'.encode() == answer("export", "d").raw


def test_pickles_are_read_by_pickle_itself_after_the_first_line(d: Dict[Any, Any]) -> None:
    d["k"] = (1, b"2")
    stream = io.BytesIO(answer("export", "d", "--format", "pickle").raw)
    assert b"s3dict pickle 1\n" == stream.readline()
    assert ("k", (1, b"2")) == pickle.load(stream)
    assert b"" == stream.read()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("k", (1, 2)),
        ("k", b"bytes"),
        ("k", [{1: "int as key"}]),
        ("k", float("inf")),
        ("k", Colour.RED),
        ("k", OrderedDict(a=1)),
        ("k", "\ud800"),
        (b"k", 1),
        (("a", b"k"), 1),
        (frozenset({1}), 1),
    ],
)
def test_what_would_not_come_back_from_json_is_refused_by_name(
    d: Dict[Any, Any], file: Path, key: Any, value: Any
) -> None:
    d[key] = value
    done = answer("export", "d", str(file))
    assert (1, SerializationError) == (done.exit_code, type(done.error))
    assert f"The entry with key {key!r} would not come back from JSON" in str(done.error)
    assert "--format pickle" in str(done.error)
    assert [] == os.listdir(file.parent)


def test_a_value_nested_too_deep_for_json_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(SerializationError, match="would not come back"):
        list(write_records([("k", nested)], io.BytesIO(), Format.JSONL))


def test_an_export_that_fails_leaves_the_last_one_as_it_was(d: Dict[Any, Any], file: Path) -> None:
    file.write_text("the last one", encoding="utf-8")
    d["k"] = b""
    assert 1 == answer("export", "d", str(file)).exit_code
    assert ("the last one", [file.name]) == (file.read_text(encoding="utf-8"), os.listdir(file.parent))


def test_a_file_that_cannot_be_written_is_an_error(d: Dict[Any, Any], file: Path) -> None:
    done = answer("export", "d", str(file / "deeper"))
    assert (1, FileNotFoundError) == (done.exit_code, type(done.error))
    assert 0 == answer("export", "d", os.devnull).exit_code


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("{", 0),
        ("[]", 0),
        ('{"key": 1}', 0),
        ('{"value": 1}', 0),
        ('{"key": {}, "value": 1}', 0),
        ('{"key": "a", "value": 1}\n\n{"key": "b", "val', 26),
    ],
)
def test_a_line_of_another_form_is_named_by_its_place(d: Dict[Any, Any], line: str, at: int) -> None:
    done = answer("import", "d", "-", stdin=line)
    assert (1, InvalidError) == (done.exit_code, type(done.error))
    assert f"The line at byte {at} is not of the form" in str(done.error)


@pytest.mark.parametrize(("cut", "told"), [(-1, "in pickle number 2"), (20, "in pickle number 1"), (10, "begin")])
def test_pickles_that_are_cut_off_are_an_error(d: Dict[Any, Any], cut: int, told: str) -> None:
    d.update(a="a" * 100, b="b" * 100)
    data = answer("export", "d", "--format", "pickle").raw
    done = answer("import", "d", "-", "--format", "pickle", stdin=data[:cut])
    assert (1, True) == (done.exit_code, told in str(done.error))


def test_pickles_are_not_read_before_somebody_agrees(d: Dict[Any, Any], file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "it was run"
    with file.open("wb") as sink:
        list(write_records([("k", Touch(proof))], sink, Format.PICKLE))
    refused: list[tuple[list[str], str]] = [([], ""), ([], "n\n"), (["--format", "jsonl"], "y\n")]
    for arguments, stdin in refused:
        assert 1 == answer("import", "d", str(file), *arguments, stdin=stdin).exit_code
    asked = answer("import", "d", "-", stdin=file.read_bytes())
    assert (2, True) == (asked.exit_code, "can run any code" in asked.stderr)
    assert not proof.exists()
    agreed: list[tuple[list[str], str]] = [([], "y\n"), (["--yes"], ""), (["--format", "pickle"], "")]
    for arguments, stdin in agreed:
        assert 0 == answer("import", "d", str(file), *arguments, stdin=stdin).exit_code
        proof.unlink()


def test_a_dict_that_is_missing_is_not_made_by_an_import(configured: Client, file: Path) -> None:
    write_lines(file, {"k": 1})
    done = answer("import", "d", str(file))
    assert (1, NotFoundError) == (done.exit_code, type(done.error))


def test_existing_keys_are_replaced_or_skipped(d: Dict[Any, Any], file: Path) -> None:
    write_lines(file, {"a": "new", "b": "new", "c": "new"})
    d["a"] = "old"
    skipping = answer("import", "d", str(file), "--skip-existing", "--json")
    assert {"entries": 3, "skipped": 1} == skipping.json
    assert {"a": "old", "b": "new", "c": "new"} == dict(d.items())
    assert "3 entries imported. 3 of them were there" in answer("import", "d", str(file), "--skip-existing").stderr
    answer("import", "d", str(file))
    assert "new" == d["a"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("form", ["jsonl", "pickle"])
def test_an_interrupted_import_goes_on_where_it_was(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"k{n}": n for n in range(9)}
    d.update(entries)
    answer("export", "d", str(file), "--format", form)
    with monkeypatch.context() as meanwhile:
        fail_after(5, meanwhile)
        done = answer("import", "other", str(file), "--format", form)
    assert (1, 5) == (done.exit_code, other.len())
    assert re.search(r"--resume goes on after the first \d+ bytes", str(done.error))
    for key in other.keys():  # noqa: SIM118 (a Dict is iterated while it is changed)
        other[key] = "kept"
    resumed = answer("import", "other", str(file), "--format", form, "--resume", "--json")
    # Four of nine were done for sure, and the fifth is put once more.
    assert ({"entries": 5, "skipped": 0}, 4) == (resumed.json, list(other.values()).count("kept"))
    assert entries.keys() == set(other.keys())
    assert [file.name] == os.listdir(file.parent)


@pytest.mark.usefixtures("small_batches")
def test_without_resume_an_import_begins_again(d: Dict[Any, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(file, {f"k{n}": n for n in range(9)})
    with monkeypatch.context() as meanwhile:
        fail_after(5, meanwhile)
        answer("import", "d", str(file))
    with monkeypatch.context() as meanwhile:
        fail_after(1, meanwhile)
        answer("import", "d", str(file))
    assert 9 == answer("import", "d", str(file), "--resume", "--json").json["entries"]
    assert 9 == answer("import", "d", str(file), "--resume", "--json").json["entries"]


def test_stdin_is_not_a_file_called_dash(d: Dict[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("another file", encoding="utf-8")
    assert 0 == answer("import", "d", "-", stdin='{"key": "k", "value": 1}').exit_code
    assert '{"key": "k", "value": 1}\n' == answer("export", "d", "-").stdout
    assert "another file" == Path("-").read_text(encoding="utf-8")


@pytest.mark.usefixtures("small_batches")
def test_an_import_is_not_resumed_with_another_file_dict_or_format(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"k{n}": n for n in range(9)}
    write_lines(file, entries)
    with monkeypatch.context() as meanwhile:
        fail_after(5, meanwhile)
        answer("import", "d", str(file))
    wrong = [answer("import", "other", str(file), "--resume")]
    write_lines(file, {"new": 1, **entries})
    wrong.append(answer("import", "d", str(file), "--resume"))
    beside = file.with_name("entries.progress")
    beside.write_text("{}", encoding="utf-8")
    wrong.append(answer("import", "d", str(file), "--resume"))
    assert [1, 1, 1] == [done.exit_code for done in wrong]
    assert all("delete it to begin again" in str(done.error) for done in wrong)
    assert 2 == answer("import", "d", "-", "--resume", stdin="").exit_code


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("skip_existing", [False, True])
def test_a_dict_deleted_during_an_import_is_noticed(
    d: Dict[Any, Any], skip_existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._dict.REVALIDATE_AFTER", 0)
    batches = put_records(d, (Record(n, n, 0) for n in range(9)), skip_existing=skip_existing)
    next(batches)
    Dict.objects.delete("d")
    with pytest.raises(NotFoundError):
        next(batches)


@pytest.mark.parametrize("form", list(Format))
def test_memory_is_flat_whatever_the_number_of_entries(file: Path, form: Format, d: Dict[Any, Any]) -> None:
    megabyte = "x" * 100_000
    entries = ((n % 4, megabyte) for n in range(200))
    tracemalloc.start()
    with file.open("wb") as sink:
        for _ in write_records(entries, sink, form):
            pass
    with file.open("rb") as source:
        for _ in read_records(source, form):
            pass
    with file.open("rb") as source:
        for _ in put_records(d, read_records(source, form), skip_existing=True):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.stat().st_size > 20_000_000
    assert peak < 15_000_000


def test_progress_shows_on_a_terminal(d: Dict[Any, Any], other: Dict[Any, Any], file: Path) -> None:
    d.update({n: n for n in range(1234)})
    out, err = shown("export", "d", str(file))
    assert "" == out
    assert "1,234 entries" in err
    assert "/s" in err
    _, err = shown("import", "other", str(file))
    assert "Importing" in err
    assert "1,234 entries imported" in err


def test_an_import_that_was_killed_is_resumed_on_a_real_server(seaweedfs: Endpoint, tmp_path: Path) -> None:
    variables = {"S3DICT_BUCKET": seaweedfs.bucket, "S3DICT_ENDPOINT_URL": seaweedfs.url, "S3DICT_PREFIX": "killed"}
    client = Client(seaweedfs.bucket, endpoint_url=seaweedfs.url, prefix="killed")
    handle = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    file = tmp_path / "entries.jsonl"
    write_lines(file, {f"k{n}": n for n in range(1400)})
    command = [sys.executable, "-W", "error", "-m", "s3dict", "import", "d", str(file), "--json"]
    with subprocess.Popen(command, env={**os.environ, **variables}) as process:
        while not (tmp_path / "entries.jsonl.progress").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    resumed = subprocess.run(
        [*command, "--resume"], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert (0, "", {"entries": 400, "skipped": 0}) == (resumed.returncode, resumed.stderr, json.loads(resumed.stdout))
    assert {f"k{n}" for n in range(1400)} == set(handle.keys())
    assert [file.name] == os.listdir(tmp_path)
