"""``s3dict export`` and ``import``."""

from __future__ import annotations

import enum
import gzip
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
from s3dict._admin.transfer import DictSettings, Format, Record, put_records, read_records, write_records
from s3dict._stores.memory import MemoryBucket

from ..support.commands import answer, shown
from ..support.modes import Endpoint
from ..support.retries import quick_policies

SETTINGS = DictSettings("d", 604_800.0, "cloudpickle")
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
    """Unpickling it makes a file."""

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


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the client of the environment, which commands share with the fixtures."""
    monkeypatch.setattr("s3dict._client.DEFAULT_POLICIES", quick_policies())


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


@pytest.mark.parametrize(("form", "entries"), [("jsonl", PLAIN), ("pickle", PYTHON)])
def test_exported_entries_are_imported(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, form: str, entries: dict[Any, Any]
) -> None:
    d.update(entries)
    exported = answer("export", "d", str(file), "--format", form)
    assert (
        exported.exit_code,
        exported.stdout,
        exported.stderr,
    ) == (0, "", f"Exported {len(entries)} entries to {file}.\n")
    imported = answer("import", "other", str(file), "--format", form)
    assert (imported.exit_code, imported.stderr) == (0, f"Imported {len(entries)} entries.\n")
    assert dict(other.items()) == entries
    assert sorted(map(repr, entries.values())) == sorted(map(repr, other.values()))
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("form", ["jsonl", "pickle"])
def test_export_and_import_work_with_pipes(d: Dict[Any, Any], other: Dict[Any, Any], form: str) -> None:
    d.update(PLAIN)
    exported = answer("export", "d", "--format", form)
    assert (exported.exit_code, exported.stderr) == (0, "")
    assert answer("import", "other", "-", "--format", form, stdin=exported.raw).exit_code == 0
    assert dict(other.items()) == PLAIN


def test_jsonl_lines_are_plain_json(d: Dict[Any, Any]) -> None:
    d[("a", 1)] = {"ü": [None]}
    settings = '"dict": {"name": "d", "ttl_seconds": 604800.0, "codec": "cloudpickle"}'
    expected = '{"key": ["a", 1], "value": {"ü": [null]}, ' + settings + "}\n"
    assert answer("export", "d").raw == expected.encode()


def test_pickles_are_read_by_pickle_itself_after_the_first_line(d: Dict[Any, Any]) -> None:
    d["k"] = (1, b"2")
    stream = io.BytesIO(answer("export", "d", "--format", "pickle").raw)
    assert stream.readline() == b"s3dict pickle 2\n"
    assert pickle.load(stream) == {"name": "d", "ttl_seconds": 604_800.0, "codec": "cloudpickle"}
    assert pickle.load(stream) == ("k", (1, b"2"))
    assert stream.read() == b""


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
def test_value_without_json_round_trip_is_rejected(d: Dict[Any, Any], file: Path, key: Any, value: Any) -> None:
    d[key] = value
    done = answer("export", "d", str(file))
    assert (done.exit_code, type(done.error)) == (1, SerializationError)
    assert f"The entry with key {key!r} does not survive a JSON round trip" in str(done.error)
    assert "--format pickle" in str(done.error)
    assert os.listdir(file.parent) == []


def test_value_nested_too_deep_for_json_is_rejected() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(SerializationError, match="does not survive"):
        list(write_records([("k", nested, None)], io.BytesIO(), Format.JSONL, SETTINGS))


def test_export_that_fails_leaves_the_last_one_as_it_was(d: Dict[Any, Any], file: Path) -> None:
    file.write_text("the last one", encoding="utf-8")
    d["k"] = b""
    assert answer("export", "d", str(file)).exit_code == 1
    assert (file.read_text(encoding="utf-8"), os.listdir(file.parent)) == ("the last one", [file.name])


def test_file_that_cannot_be_written_is_an_error(d: Dict[Any, Any], file: Path) -> None:
    done = answer("export", "d", str(file / "deeper"))
    assert (done.exit_code, type(done.error)) == (1, FileNotFoundError)
    assert answer("export", "d", os.devnull).exit_code == 0


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
def test_malformed_line_is_reported_with_its_position(d: Dict[Any, Any], line: str, at: int) -> None:
    done = answer("import", "d", "-", stdin=line)
    assert (done.exit_code, type(done.error)) == (1, InvalidError)
    assert f"The line at byte {at} is not of the form" in str(done.error)


@pytest.mark.parametrize(
    ("cut", "message"),
    [(-1, "in pickle number 2"), (120, "in pickle number 1"), (20, "before its first entry"), (10, "begin")],
)
def test_truncated_pickles_are_an_error(d: Dict[Any, Any], cut: int, message: str) -> None:
    d.update(a="a" * 100, b="b" * 100)
    data = answer("export", "d", "--format", "pickle").raw
    done = answer("import", "d", "-", "--format", "pickle", stdin=data[:cut])
    assert (done.exit_code, message in str(done.error)) == (1, True)


def test_pickles_require_a_confirmation(d: Dict[Any, Any], file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "it was run"
    with file.open("wb") as sink:
        list(write_records([("k", Touch(proof), None)], sink, Format.PICKLE, SETTINGS))
    refused: list[tuple[list[str], str]] = [([], ""), ([], "n\n"), (["--format", "jsonl"], "y\n")]
    for arguments, stdin in refused:
        assert answer("import", "d", str(file), *arguments, stdin=stdin).exit_code == 1
    asked = answer("import", "d", "-", stdin=file.read_bytes())
    assert (asked.exit_code, "can run any code" in asked.stderr) == (2, True)
    assert not proof.exists()
    agreed: list[tuple[list[str], str]] = [([], "y\n"), (["--yes"], ""), (["--format", "pickle"], "")]
    for arguments, stdin in agreed:
        assert answer("import", "d", str(file), *arguments, stdin=stdin).exit_code == 0
        proof.unlink()


def test_import_does_not_create_a_missing_dict(configured: Client, file: Path) -> None:
    write_lines(file, {"k": 1})
    done = answer("import", "d", str(file))
    assert (done.exit_code, type(done.error)) == (1, NotFoundError)


def test_existing_keys_are_replaced_or_skipped(d: Dict[Any, Any], file: Path) -> None:
    write_lines(file, {"a": "new", "b": "new", "c": "new"})
    d["a"] = "old"
    skipping = answer("import", "d", str(file), "--skip-existing", "--json")
    assert skipping.json == {"entries": 3, "skipped": 1}
    assert dict(d.items()) == {"a": "old", "b": "new", "c": "new"}
    assert (
        "Imported 0 entries, skipped 3 that exist already" in answer("import", "d", str(file), "--skip-existing").stderr
    )
    answer("import", "d", str(file))
    assert d["a"] == "new"


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("form", ["jsonl", "pickle"])
def test_interrupted_import_resumes_at_its_checkpoint(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"k{n}": n for n in range(9)}
    d.update(entries)
    answer("export", "d", str(file), "--format", form)
    with monkeypatch.context() as patch:
        fail_after(5, patch)
        done = answer("import", "other", str(file), "--format", form)
    assert (done.exit_code, other.len()) == (1, 5)
    assert re.search(r"--resume continues after the first \d+ bytes", str(done.error))
    for key in other.keys():  # noqa: SIM118 (a Dict is iterated while it is changed)
        other[key] = "kept"
    resumed = answer("import", "other", str(file), "--format", form, "--resume", "--json")
    # Four of nine were done for sure, and the fifth is put once more.
    assert (resumed.json, list(other.values()).count("kept")) == ({"entries": 5, "skipped": 0}, 4)
    assert entries.keys() == set(other.keys())
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.usefixtures("small_batches")
def test_without_resume_an_import_begins_again(d: Dict[Any, Any], file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lines(file, {f"k{n}": n for n in range(9)})
    with monkeypatch.context() as patch:
        fail_after(5, patch)
        answer("import", "d", str(file))
    with monkeypatch.context() as patch:
        fail_after(1, patch)
        answer("import", "d", str(file))
    assert answer("import", "d", str(file), "--resume", "--json").json["entries"] == 9
    assert answer("import", "d", str(file), "--resume", "--json").json["entries"] == 9


@pytest.mark.parametrize("arguments", [["d"], ["--all"]])
def test_compressed_file_says_how_it_is_imported(d: Dict[Any, Any], tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "the file.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"key": "a", "value": 1}\n'))
    done = answer("import", *arguments, str(file))
    assert done.exit_code == 1
    assert f"gunzip -c '{file}' | s3dict import" in str(done.error)
    assert d.len() == 0


def test_dash_means_stdin(d: Dict[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("another file", encoding="utf-8")
    assert answer("import", "d", "-", stdin='{"key": "k", "value": 1}').exit_code == 0
    assert answer("export", "d", "-").stdout.startswith('{"key": "k", "value": 1')
    assert Path("-").read_text(encoding="utf-8") == "another file"


@pytest.mark.usefixtures("small_batches")
def test_import_is_not_resumed_with_another_file_dict_or_format(
    d: Dict[Any, Any], other: Dict[Any, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {f"k{n}": n for n in range(9)}
    write_lines(file, entries)
    with monkeypatch.context() as patch:
        fail_after(5, patch)
        answer("import", "d", str(file))
    wrong = [answer("import", "other", str(file), "--resume")]
    write_lines(file, {"new": 1, **entries})
    wrong.append(answer("import", "d", str(file), "--resume"))
    beside = file.with_name("entries.progress")
    beside.write_text("{}", encoding="utf-8")
    wrong.append(answer("import", "d", str(file), "--resume"))
    assert [done.exit_code for done in wrong] == [1, 1, 1]
    assert all("delete it to start over" in str(done.error) for done in wrong)
    assert answer("import", "d", "-", "--resume", stdin="").exit_code == 2


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("skip_existing", [False, True])
def test_dict_deleted_during_an_import_is_noticed(
    d: Dict[Any, Any], skip_existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._handle.REVALIDATE_AFTER", 0)
    batches = put_records(d, (Record(n, n, 0) for n in range(9)), skip_existing=skip_existing)
    next(batches)
    Dict.objects.delete("d")
    with pytest.raises(NotFoundError):
        next(batches)


@pytest.mark.parametrize("form", list(Format))
def test_memory_use_is_independent_of_the_number_of_entries(file: Path, form: Format, d: Dict[Any, Any]) -> None:
    megabyte = "x" * 100_000
    entries = ((n % 4, megabyte, None) for n in range(200))
    tracemalloc.start()
    with file.open("wb") as sink:
        for _ in write_records(entries, sink, form, SETTINGS):
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
    assert out == ""
    assert "1,234 entries" in err
    assert "/s" in err
    _, err = shown("import", "other", str(file))
    assert "Importing" in err
    assert "Imported 1,234 entries" in err


def test_killed_import_resumes_on_a_real_server(seaweedfs: Endpoint, tmp_path: Path) -> None:
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
    assert (resumed.returncode, resumed.stderr, json.loads(resumed.stdout)) == (0, "", {"entries": 400, "skipped": 0})
    assert set(handle.keys()) == {f"k{n}" for n in range(1400)}
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.parametrize("arguments", ["export d", "export --all"])
def test_sigterm_leaves_no_part_of_an_export(
    d: Dict[Any, Any], tmp_path: Path, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal did not end the export")

    d["k"] = "v"
    for function in ("transfer.export_items", "backup.write_backup"):
        monkeypatch.setattr(f"s3dict._admin.{function}", terminate)
    assert answer(*arguments.split(), str(tmp_path / "file")).exit_code == 143
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
