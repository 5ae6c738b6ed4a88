"""``s3dict get``, ``put``, ``pop``, ``items``, ``len``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict, NotFoundError, SerializationError, UncertainOutcomeError

from ..support.commands import answer, shown


@pytest.fixture
def d(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=configured).hydrate()


def test_a_string_is_put_and_got_as_it_is(d: Dict[Any, Any]) -> None:
    done = answer("put", "d", "k", "one\ttwo ü")
    assert (0, "", "") == (done.exit_code, done.stdout, done.stderr)
    assert "one\ttwo ü" == d["k"]
    assert "one\ttwo ü\n" == answer("get", "d", "k").stdout


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
def test_a_value_is_printed_for_people_and_as_json(
    d: Dict[Any, Any], value: Any, printed: str, as_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    d["k"] = value
    assert f"{printed}\n" == answer("get", "d", "k").stdout
    assert f"{as_json}\n" == answer("get", "d", "k", "--json").stdout
    assert f"{printed}\n" == shown("get", "d", "k")[0]


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"ab"), "ü"])
def test_raw_writes_the_bytes_and_no_more(d: Dict[Any, Any], value: Any) -> None:
    d["k"] = value
    assert (value.encode() if isinstance(value, str) else bytes(value)) == answer("get", "d", "k", "--raw").raw


@pytest.mark.parametrize(("form", "value"), [("--json", b"bytes"), ("--json", float("nan")), ("--raw", 7)])
def test_what_a_form_cannot_say_is_an_error_that_says_so(d: Dict[Any, Any], form: str, value: Any) -> None:
    d["k"] = value
    done = answer("get", "d", "k", form)
    assert (1, SerializationError, "") == (done.exit_code, type(done.error), done.stdout)
    assert f"Leave {form} out" in str(done.error)


@pytest.mark.parametrize("command", ["get", "pop"])
def test_a_missing_key_is_an_error_also_where_none_is_stored(d: Dict[Any, Any], command: str) -> None:
    d["none"] = None
    assert (0, "None\n") == ((there := answer(command, "d", "none")).exit_code, there.stdout)
    done = answer(command, "d", "k")
    assert (1, "", "There is no key 'k' in Dict 'd'") == (done.exit_code, done.stdout, str(done.error))


def test_a_missing_dict_is_an_error(configured: Client) -> None:
    for arguments in (("get", "d", "k"), ("put", "d", "k", "v"), ("pop", "d", "k"), ("items", "d"), ("len", "d")):
        done = answer(*arguments)
        assert (1, NotFoundError) == (done.exit_code, type(done.error))


@pytest.mark.parametrize(
    ("text", "key"), [("7", 7), ("null", None), ('"7"', "7"), ('[1, ["a"]]', (1, ("a",))), ("true", True)]
)
def test_a_key_may_be_json(d: Dict[Any, Any], text: str, key: Any) -> None:
    assert 0 == answer("put", "d", text, "v", "--key-json").exit_code
    assert [key] == list(d.keys())
    assert "v\n" == answer("get", "d", text, "--key-json").stdout
    assert (1, 0) == (answer("get", "d", "null").exit_code, answer("pop", "d", text, "--key-json").exit_code)


@pytest.mark.parametrize("text", ["{", "x", '{"a": 1}', "[{}]"])
def test_a_key_that_is_no_json_or_cannot_be_a_key_is_wrong_usage(d: Dict[Any, Any], text: str) -> None:
    assert 2 == answer("get", "d", text, "--key-json").exit_code


def test_a_value_comes_from_json_a_file_or_stdin(d: Dict[Any, Any], tmp_path: Path) -> None:
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
    assert expected == dict(d.items())


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
def test_a_value_that_is_missing_or_given_twice_or_not_of_its_form_is_wrong_usage(
    d: Dict[Any, Any], arguments: tuple[str, ...]
) -> None:
    assert (2, 0) == (answer("put", "d", *arguments).exit_code, d.len())


def test_bytes_that_are_no_text_have_to_be_said_to_be_bytes(d: Dict[Any, Any]) -> None:
    done = answer("put", "d", "k", "-", stdin=b"\xff")
    assert (2, True) == (done.exit_code, "say --raw" in done.stderr)


def test_a_dict_of_bytes_gets_bytes(configured: Client) -> None:
    answer("create", "raw", "--codec", "bytes")
    assert 0 == answer("put", "raw", "k", "v").exit_code
    assert b"v" == Dict.from_name("raw")["k"]
    assert b"v" == answer("get", "raw", "k", "--raw").raw
    assert 1 == answer("put", "raw", "k", "1", "--json").exit_code


def test_of_two_who_put_only_what_is_not_there_one_succeeds(d: Dict[Any, Any]) -> None:
    first, second = (answer("put", "d", "k", value, "--skip-if-exists") for value in ("one", "two"))
    assert (0, 1, "one") == (first.exit_code, second.exit_code, d["k"])
    assert "Key 'k' is in Dict 'd' already" == str(second.error)


def test_pop_prints_the_value_and_takes_it_out(d: Dict[Any, Any]) -> None:
    d.update(a=[1], b=b"\x00")
    assert "[1]\n" == answer("pop", "d", "a", "--json").stdout
    assert b"\x00" == answer("pop", "d", "b", "--raw").raw
    assert 0 == d.len()


def test_a_popped_value_that_cannot_be_printed_as_asked_is_not_lost(d: Dict[Any, Any]) -> None:
    d["k"] = b"precious"
    done = answer("pop", "d", "k", "--json")
    assert (1, b"precious") == (done.exit_code, d["k"])
    assert "The value was put back" in str(done.error)


def test_a_value_that_was_perhaps_popped_is_printed(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def pop(*_: Any) -> None:
        raise UncertainOutcomeError("who knows", value="precious")

    monkeypatch.setattr(Dict, "pop", pop)
    done = answer("pop", "d", "k")
    assert (1, "precious\n", "who knows") == (done.exit_code, done.stdout, str(done.error))


def test_items_prints_twenty_entries_and_says_that_there_are_more(d: Dict[Any, Any]) -> None:
    d.update({f"k{n}": n for n in range(20)})
    done = answer("items", "d")
    assert (20, "") == (len(done.stdout.splitlines()), done.stderr)
    d["one more"] = 20
    done = answer("items", "d")
    assert 20 == len(done.stdout.splitlines())
    assert "There are more than 20" in done.stderr
    assert (3, 0) == (len(answer("items", "d", "3").stdout.splitlines()), len(answer("items", "d", "0").stdout))
    assert sorted(f"{key}\t{value}" for key, value in d.items()) == sorted(
        answer("items", "d", "3", "--all").stdout.splitlines()
    )


def test_repr_shows_what_a_string_hides(d: Dict[Any, Any]) -> None:
    d["1"] = "2"
    assert ("1\t2\n", "'1'\t'2'\n") == (answer("items", "d").stdout, answer("items", "d", "-r").stdout)


def test_an_entry_is_one_line_whatever_it_holds(d: Dict[Any, Any]) -> None:
    d["a\tb"] = "one\ntwo"
    assert "a\\tb\tone\\ntwo\n" == answer("items", "d").stdout
    assert "'a\\tb'\t'one\\ntwo'\n" == answer("items", "d", "--repr").stdout


def test_json_is_of_all_items_unless_a_number_is_named(d: Dict[Any, Any]) -> None:
    assert [] == answer("items", "d", "--json").json
    entries: dict[Any, Any] = {n: [n] for n in range(25)} | {("a", 1): "tuple", None: None}
    d.update(entries)
    everything = answer("items", "d", "--json").json
    assert sorted(map(str, json.loads(json.dumps([[k, v] for k, v in entries.items()])))) == sorted(
        str([entry["key"], entry["value"]]) for entry in everything
    )
    assert 3 == len(answer("items", "d", "3", "--json").json)
    assert 27 == len(answer("items", "d", "3", "--all", "--json").json)


def test_a_terminal_gets_no_more_than_fits_and_nothing_to_obey(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    d["k"] = "\x1b[31m" + "v" * 1_000_000
    out, _ = shown("items", "d")
    assert "\\x1b[31mvvv" in out
    assert "\x1b[31m" not in out
    assert {40} == {len(line) for line in out.splitlines() if "vvv" in line}
    d["k"] = "\x1b]0;title\x07"
    assert "\x1b]0" not in shown("get", "d", "k")[0]
    assert "\x1b]0;title\x07\n" == answer("get", "d", "k").stdout


def test_a_terminal_without_unicode_gets_escapes(d: Dict[Any, Any]) -> None:
    d["k"] = "ü"
    assert "\\xfc\n" == answer("get", "d", "k", charset="ascii").stdout
    assert "ü" == answer("get", "d", "k", "--json", charset="ascii").json


def test_len_counts(d: Dict[Any, Any]) -> None:
    d.update(a=1, b=2)
    assert ("2\n", 2) == (answer("len", "d").stdout, answer("len", "d", "--json").json)


def test_signing_keys_are_those_of_the_environment(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", "a-secret-of-16-bytes-or-more")
    answer("create", "d")
    answer("put", "d", "k", "v")
    assert "v\n" == answer("get", "d", "k").stdout
    assert "A signing key has" in str(answer("get", "d", "k", variables={"S3DICT_SIGNING_KEYS": "short"}).error)
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", "another-secret-of-16-bytes")
    assert 1 == answer("get", "d", "k").exit_code
