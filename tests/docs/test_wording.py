"""The code, the Terraform module and the pages use standard technical terms.

The first releases were written in words of their own ("sending", "what lies there"). The field's terms replaced them; a
reader should not have to learn a private vocabulary again.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from .pages import PAGES, ROOT

BETTER = {
    r"told|(?<!\.)(?<!def )tells?": "returned, reports, contains",
    r"says nothing|silences?|falls silent": "times out, timeout",
    r"what (?:lies|stands)|(?:lies|lie|stands) (?:there|under|between)|lying there": "is stored under",
    r"what stands between": "a proxy or gateway may be in between",
    r"(?:none|one|some|all) of ours|(?:not|are|is) ours|errors of ours": "written by s3dict",
    r"(?<!there )(?:is|was) no (?:\w+ of|number|text|name|answer|entry|error|condition|version|dict|bytes)": "is not a",
    r"ran out|runs? out|(?:lease|ttl) is over|that (?:is|are) over": "has expired",
    r"mend(?:s|ed|ing)?": "fix",
    r"whoever|somebody|nobody|everybody": "a process that, any caller, a concurrent writer",
    r"another was faster": "a concurrent writer",
    r"takes? the key out": "removes",
    r"for ever": "indefinitely, never expires",
    r"anew|again and again|sent again|sends? it again": "again, repeatedly, retried",
    r"lest|meanwhile|by now": "so that ... not, concurrently, already",
    r"in a hurry|hurried|haste|of no use when late": "with a short timeout",
    r"under way": "in flight",
    r"at hand": "available",
    r"way there|way to the bucket": "connection, endpoint",
    r"in one text|one text for|in either way|in both ways": "one implementation, sync and async",
    r"needs? a look|another look": "must revalidate",
    r"asks? to slow down": "throttled",
    r"does not agree with itself": "hash and key do not match",
    r"neither true nor false": "must be a boolean",
    r"what another wrote": "overwritten by a concurrent write",
    r"not one of S3": "not an S3 response",
    r"sendings|(?:a|each|last) sending": "attempts",
    r"compare-and-set given up": "compare-and-set retries exhausted",
    r"worlds apart": "fully isolated",
    r"very dict": "specific dict",
    r"a twin|its twin|async(?:io)? twin": "async variant",
    r"rules that sweep": "lifecycle expiration rules",
    r"a default of (?:your|one's) own": "a sentinel default",
    r"asks for the version, not for the age": "also succeeds on an entry that has expired",
    r"wants more than it gives|an OSD that goes on": "has two causes",
    r"does without \(column\)": "unsupported features",
    r"bytes that are not ours": "foreign or corrupt objects",
    r"writes? a store of (?:their|your) own": "to implement a custom store",
    r"not tried:": "skipped",
    r"not heeded": "was ignored",
    r"JSON cannot say|would not come back": "is not JSON-serializable, does not survive a JSON round trip",
    r"where .{0,60} came to": "resume an interrupted import",
    r"say what to do about what is not right": "suggest fixes",
    r"tell what a dict is": "show a dict's metadata",
    r"not being allowed to look": "a check skipped for lack of permission",
    r"is no text": "must be a string",
    r"root of the tree": "base class",
    r"on (?:its|their) way": "in flight, in transit",
    r"los(?:t|es?|ing) (?:an )?answers?": "lost response",
    r"doings|as one likes|his own": "the operations, its own",
    r"ten lines|making and finding dicts|what it stands on|what it survives": "standard titles",
}
"""Phrases that are not used, as case-insensitive regular expressions, and what to write instead."""

OLD_NAMES = frozenset(
    {
        "HasTwin",
        "_twin",
        "_lent_to",
        "_way_there",
        "_HandingOver",
        "_damaged_puts",
        "_bucket_admin",
        "_State",
        "let_go",
        "is_over",
        "is_due",
        "needs_a_look",
        "LockPlace",
        "_in_a_hurry",
        "LEAST_HURRY",
        "CLOCK_STEP",
        "Hydrated",
        "Choice",
        "TRUSTED_SECONDS",
        "Bench",
        "FlawError",
        "NotTriedError",
        "Told",
        "has_aged",
        "SilenceError",
        "hurried",
        "Declined",
        "SENDINGS",
        "FIRST_PAUSE",
        "sendings",
        "may_send",
        "_told",
        "_told_by",
        "_lender",
        "lender",
        "Lent",
        "RustRequests",
        "RustStore",
        "AsyncRustStore",
        "patience",
        "lent_by",
        "LENT_FOR",
        "_begun",
        "_let_go",
        "_under_way",
        "StoreClock",
        "Answered",
        "AsItComes",
        "SIGNED_WITHIN",
        "PARTED_SECONDS",
        "PATIENCE_SECONDS",
        "NOT_ACCEPTED",
        "Hurried",
        "_GuardedProcess",
        "no_credentials",
        "made_harmless",
        "_MOST_HUMPS",
        "InWay",
        "_way",
        "_lines",
        "_pickles",
        "_to_line",
        "_CutOffError",
        "_is_taken",
        "signed_region",
        "_NO_CONSTRAINT",
        "UNCLEAR",
        "Plant",
        "PLANTS",
        "by_way_of",
        "call_in_way",
        "served_by",
        "raced_on",
        "not_tried",
    }
)
"""Identifiers of the first releases that were replaced by standard terms."""

QUOTING = frozenset({"s3dict/guide/changelog.md", "tests/docs/test_wording.py"})
"""Files that name what was renamed."""

_SUFFIXES = frozenset({".py", ".tf", ".sh", ".md", ".js", ".css", ".hcl"})


def compiled(phrases: Mapping[str, str]) -> dict[re.Pattern[str], str]:
    return {re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE): better for phrase, better in phrases.items()}


_PHRASES = compiled(BETTER)


def sources(*folders: str, suffixes: Iterable[str] = _SUFFIXES) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
                yield path


def found_phrases(text: str, phrases: Mapping[re.Pattern[str], str] = MappingProxyType(_PHRASES)) -> list[str]:
    """Return the lines with a phrase, also one that is broken by the end of a line."""
    unwrapped = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", " ", text)
    return [
        f"{unwrapped[max(match.start() - 30, 0) : match.end() + 30]!r}: write {better!r}"
        for phrase, better in phrases.items()
        for match in phrase.finditer(unwrapped)
    ]


REPORTS = frozenset(f"tests/{name}/README.md" for name in ("benchmarks", "chaos", "compatibility", "fuzz"))
"""Generated: they quote messages of servers."""
PATHS = {path.relative_to(ROOT).as_posix() for path in (*sources("s3dict", "terraform"), *PAGES.values())}
PATHS -= QUOTING | REPORTS


@pytest.mark.parametrize("folder", sorted({path.rpartition("/")[0] for path in PATHS}))
def test_folder_uses_standard_terms(folder: str) -> None:
    paths = sorted(path for path in PATHS if path.rpartition("/")[0] == folder)
    found = {path: found_phrases((ROOT / path).read_text(encoding="utf-8")) for path in paths}
    assert {path: phrases for path, phrases in found.items() if phrases} == {}


IN_SOURCES_ONLY = frozenset(
    phrase for phrase in BETTER if re.search(r"tells|silences|ours|is no|is over|stands", phrase)
)
"""Phrases that are not looked for in tests: these also describe what a planted fault does."""
TESTS = sorted(
    path.relative_to(ROOT).as_posix() for path in sources("tests", suffixes=(".py",)) if "golden" not in path.parts
)
FOREIGN_TESTS = ("tests/peers/suites/",)
"""Tests that run in the suites of other projects, in their words."""


def test_tests_use_standard_terms() -> None:
    phrases = {phrase: BETTER[phrase] for phrase in BETTER.keys() - IN_SOURCES_ONLY} | {"told": "returned"}
    paths = [path for path in TESTS if path not in QUOTING and not path.startswith(FOREIGN_TESTS)]
    found = {path: found_phrases((ROOT / path).read_text(encoding="utf-8"), compiled(phrases)) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("text", ["was told", "for\n    # ever", "Whoever asks", "what lies there"])
def test_phrase_is_found(text: str) -> None:
    assert found_phrases(text)


def test_old_identifiers_are_gone() -> None:
    for path in sources("s3dict", "tests", suffixes=(".py",)):
        if path.is_relative_to(ROOT / "s3dict" / "_legacy"):
            continue  # the names that pickles of 0.1 refer to
        with tokenize.open(path) as file:
            names = {token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.NAME}
        assert not names & OLD_NAMES, path
