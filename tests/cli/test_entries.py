"""``s3dict get``, ``put``, ``pop``, ``items``, ``len``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, DeserializationError, Dict, NotFoundError, SerializationError, UncertainOutcomeError

from ..support.commands import answer, shown

WHERE = "Dict 'd' in environment 'main' of s3://"


@pytest.fixture
def d(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=configured).hydrate()


def test_string_value_round_trips(d: Dict[Any, Any]) -> None:
    done = answer("put", "d", "k", "one\ttwo ü")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Stored key 'k' in Dict 'd'")
    assert d["k"] == "one\ttwo ü"
    assert answer("get", "d", "k").stdout == "one\ttwo ü\n"


@pytest.mark.parametrize(
    ("value", "printed", "as_json"),
    [
        ("text", "text", '"text"'),
        ({"a": [1, None]}, "{'a': [1, None]}", '{"a": [1, null]}'),
        (1.5, "1.5", "1.5"),
        (None, "None", "null"),
        ((1, 2), "(1, 2)", "[1, 2]"),
    ],
)
def test_value_is_printed_as_text_and_as_json(
    d: Dict[Any, Any], value: Any, printed: str, as_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    d["k"] = value
    assert answer("get", "d", "k").stdout == f"{printed}\n"
    assert answer("get", "d", "k", "--json").stdout == f"{as_json}\n"
    assert shown("get", "d", "k")[0] == f"{printed}\n"


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"ab"), "ü"])
def test_raw_writes_exactly_the_bytes(d: Dict[Any, Any], value: Any) -> None:
    d["k"] = value
    assert (value.encode() if isinstance(value, str) else bytes(value)) == answer("get", "d", "k", "--raw").raw


@pytest.mark.parametrize(("form", "value"), [("--json", b"bytes"), ("--json", float("nan")), ("--raw", 7)])
def test_unrepresentable_value_is_an_error(d: Dict[Any, Any], form: str, value: Any) -> None:
    d["k"] = value
    done = answer("get", "d", "k", form)
    assert (done.exit_code, type(done.error), done.stdout) == (1, SerializationError, "")
    assert f"Omit {form}" in str(done.error)


@pytest.mark.parametrize("command", ["get", "pop"])
def test_missing_key_is_distinguished_from_stored_none(d: Dict[Any, Any], command: str) -> None:
    d["none"] = None
    assert ((there := answer(command, "d", "none")).exit_code, there.stdout) == (0, "None\n")
    done = answer(command, "d", "k")
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(done.error).startswith(f"There is no key 'k' in {WHERE}")


def test_missing_dict_is_an_error(configured: Client) -> None:
    for arguments in (("get", "d", "k"), ("put", "d", "k", "v"), ("pop", "d", "k"), ("items", "d"), ("len", "d")):
        done = answer(*arguments)
        assert (done.exit_code, type(done.error)) == (1, NotFoundError)


@pytest.mark.parametrize(
    ("text", "key"), [("7", 7), ("null", None), ('"7"', "7"), ('[1, ["a"]]', (1, ("a",))), ("true", True)]
)
def test_key_may_be_json(d: Dict[Any, Any], text: str, key: Any) -> None:
    assert answer("put", "d", text, "v", "--key-json").exit_code == 0
    assert list(d.keys()) == [key]
    assert answer("get", "d", text, "--key-json").stdout == "v\n"
    assert (answer("get", "d", "null").exit_code, answer("pop", "d", text, "--key-json").exit_code) == (1, 0)


@pytest.mark.parametrize("text", ["{", "x", '{"a": 1}', "[{}]"])
def test_invalid_json_key_is_a_usage_error(d: Dict[Any, Any], text: str) -> None:
    assert answer("get", "d", text, "--key-json").exit_code == 2


def test_value_comes_from_json_a_file_or_stdin(d: Dict[Any, Any], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("from a file\n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff")
    answer("put", "d", "json", '{"a": [1]}', "--json")
    answer("put", "d", "file", "--file", str(tmp_path / "text"))
    answer("put", "d", "bytes", "-f", str(tmp_path / "bytes"), "--raw")
    answer("put", "d", "stdin", "-", stdin="typed\n")
    answer("put", "d", "json on stdin", "-", "--json", stdin="[null]")
    expected = {
        "json": {"a": [1]},
        "file": "from a file\n",
        "bytes": b"\xff",
        "stdin": "typed\n",
        "json on stdin": [None],
    }
    assert dict(d.items()) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("k",),
        ("k", "v", "--file", "README.md"),
        ("k", "--file", "/nowhere"),
        ("k", "{", "--json"),
        ("k", "1", "--json", "--raw"),
    ],
)
def test_missing_ambiguous_or_malformed_value_is_a_usage_error(d: Dict[Any, Any], arguments: tuple[str, ...]) -> None:
    assert (answer("put", "d", *arguments).exit_code, d.len()) == (2, 0)


def test_binary_input_requires_the_bytes_option(d: Dict[Any, Any]) -> None:
    done = answer("put", "d", "k", "-", stdin=b"\xff")
    assert (done.exit_code, "use --raw" in done.stderr) == (2, True)


def test_dict_of_bytes_gets_bytes(configured: Client) -> None:
    answer("create", "raw", "--codec", "bytes")
    assert answer("put", "raw", "k", "v").exit_code == 0
    assert Dict.from_name("raw")["k"] == b"v"
    assert answer("get", "raw", "k", "--raw").raw == b"v"
    assert answer("put", "raw", "k", "1", "--json").exit_code == 1


def test_skip_if_exists_succeeds_once(d: Dict[Any, Any]) -> None:
    first, second = (answer("put", "d", "k", value, "--skip-if-exists") for value in ("one", "two"))
    assert (first.exit_code, second.exit_code, d["k"]) == (0, 1, "one")
    assert str(second.error).startswith(f"Key 'k' exists already in {WHERE}")


def test_messages_show_the_key_and_not_its_json_and_shorten_it(d: Dict[Any, Any]) -> None:
    assert answer("put", "d", "7", "x", "--key-json").stderr.startswith(f"Stored key 7 in {WHERE}")
    assert str(answer("get", "d", "[1, 2]", "--key-json").error).startswith(f"There is no key (1, 2) in {WHERE}")
    for command in (["put", "d", "k" * 3000, "x"], ["put", "d", "k" * 3000, "x", "--skip-if-exists"]):
        done = answer(*command)
        assert len(f"{done.stderr}{done.error}") < 400
    assert d["k" * 3000] == "x"


def test_pop_prints_and_removes_the_value(d: Dict[Any, Any]) -> None:
    d.update(a=[1], b=b"\x00")
    assert answer("pop", "d", "a", "--json").stdout == "[1]\n"
    assert answer("pop", "d", "b", "--raw").raw == b"\x00"
    assert d.len() == 0


def test_unprintable_popped_value_is_not_lost(d: Dict[Any, Any]) -> None:
    d["k"] = b"precious"
    done = answer("pop", "d", "k", "--json")
    assert (done.exit_code, d["k"]) == (1, b"precious")
    assert "The value was put back" in str(done.error)


def test_value_of_an_uncertain_pop_is_printed(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def pop(*_: Any) -> None:
        raise UncertainOutcomeError("who knows", value="precious")

    monkeypatch.setattr(Dict, "pop", pop)
    done = answer("pop", "d", "k")
    assert (done.exit_code, done.stdout, str(done.error)) == (1, "precious\n", "who knows")


def test_items_prints_twenty_entries_and_a_note(d: Dict[Any, Any]) -> None:
    d.update({f"k{n}": n for n in range(20)})
    done = answer("items", "d")
    assert (len(done.stdout.splitlines()), done.stderr) == (20, "")
    d["one more"] = 20
    done = answer("items", "d")
    assert len(done.stdout.splitlines()) == 20
    assert "There are more than 20 entries: " in done.stderr
    assert "There are more than 1 entry: " in answer("items", "d", "1").stderr
    assert (len(answer("items", "d", "3").stdout.splitlines()), len(answer("items", "d", "0").stdout)) == (3, 0)
    assert sorted(answer("items", "d", "3", "--all").stdout.splitlines()) == sorted(
        f"{key}\t{value}" for key, value in d.items()
    )


def test_repr_shows_control_characters(d: Dict[Any, Any]) -> None:
    d["1"] = "2"
    assert (answer("items", "d").stdout, answer("items", "d", "-r").stdout) == ("1\t2\n", "'1'\t'2'\n")


def test_each_entry_is_one_line(d: Dict[Any, Any]) -> None:
    d["a\tb"] = "one\ntwo"
    assert answer("items", "d").stdout == "a\\tb\tone\\ntwo\n"
    assert answer("items", "d", "--repr").stdout == "'a\\tb'\t'one\\ntwo'\n"


def test_keys_are_printed_without_values(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    d.update({"a": 1, ("b", 2): 2, None: 3})

    def fail(*_: Any) -> Any:
        raise DeserializationError("The value cannot be deserialized here")

    monkeypatch.setattr("s3dict._core.entry_codec.EntryCodec.deserialize", fail)
    assert answer("items", "d").exit_code == 1
    assert sorted(answer("keys", "d").stdout.splitlines()) == ["('b', 2)", "None", "a"]
    assert sorted(answer("keys", "d", "--repr", "--all").stdout.splitlines()) == ["'a'", "('b', 2)", "None"]
    assert sorted(map(str, answer("keys", "d", "--json").json)) == ["None", "['b', 2]", "a"]
    done = answer("keys", "d", "2")
    assert (len(done.stdout.splitlines()), "There are more than 2 entries: " in done.stderr) == (2, True)
    assert answer("keys", "d", "2", "-n", "2").exit_code == 2


def test_items_json_is_unlimited_by_default(d: Dict[Any, Any]) -> None:
    assert answer("items", "d", "--json").json == []
    entries: dict[Any, Any] = {n: [n] for n in range(25)} | {("a", 1): "tuple", None: None}
    d.update(entries)
    everything = answer("items", "d", "--json").json
    assert sorted(map(str, json.loads(json.dumps([[k, v] for k, v in entries.items()])))) == sorted(
        str([entry["key"], entry["value"]]) for entry in everything
    )
    assert len(answer("items", "d", "3", "--json").json) == 3
    assert len(answer("items", "d", "3", "--all", "--json").json) == 27


def test_terminal_output_is_truncated_and_free_of_control_characters(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    d["k"] = "\x1b[31m" + "v" * 1_000_000
    out, _ = shown("items", "d")
    assert "\\x1b[31mvvv" in out
    assert "\x1b[31m" not in out
    assert {len(line) for line in out.splitlines() if "vvv" in line} == {40}
    d["k"] = "\x1b]0;title\x07"
    assert "\x1b]0" not in shown("get", "d", "k")[0]
    assert answer("get", "d", "k").stdout == "\x1b]0;title\x07\n"


def test_terminal_without_unicode_gets_escapes(d: Dict[Any, Any]) -> None:
    d["k"] = "ü"
    assert answer("get", "d", "k", charset="ascii").stdout == "\\xfc\n"
    assert answer("get", "d", "k", "--json", charset="ascii").json == "ü"


def test_items_and_len_show_their_progress_on_a_terminal(d: Dict[Any, Any]) -> None:
    d.update({n: n for n in range(1234)})
    out, err = shown("items", "d", "--all")
    assert "1233" in out
    assert "1,234 entries" in err
    _, err = shown("len", "d")
    assert ("Counting" in err, "1,234 entries" in err) == (True, True)
    out, err = shown("items", "d", "--json")
    assert (out.count('"key"'), "Reading" in err) == (1234, False)


def test_len_counts(d: Dict[Any, Any]) -> None:
    d.update(a=1, b=2)
    assert (answer("len", "d").stdout, answer("len", "d", "--json").json) == ("2\n", 2)


def test_signing_keys_come_from_the_environment(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", "a-secret-of-16-bytes-or-more")
    answer("create", "d")
    answer("put", "d", "k", "v")
    assert answer("get", "d", "k").stdout == "v\n"
    assert "A signing key has" in str(answer("get", "d", "k", variables={"S3DICT_SIGNING_KEYS": "short"}).error)
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", "another-secret-of-16-bytes")
    assert answer("get", "d", "k").exit_code == 1
