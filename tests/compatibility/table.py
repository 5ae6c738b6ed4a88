"""The results as tables in Markdown, and in README.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from s3dict._admin.conformance.suite import FEATURES, Outcome

from ..support.reports import replace_block
from .results import Result

__all__ = ["UNTRIED", "markdown", "write_readme"]

UNTRIED = {
    "AWS S3": "needs an account",
    "Cloudflare R2": "needs an account",
    **dict.fromkeys(
        (
            "MinIO",
            "Garage",
            "RustFS",
            "Versity S3 Gateway",
            "gofakes3",
            "S3Proxy",
            "Zenko CloudServer",
            "S3Mock",
            "Floci",
        ),
        "on 2026-11-27 neither PyPI, npm nor Debian 12 has the server",
    ),
    "@20minutes/s3rver": "release 5.0.0 ignores PUT If-None-Match: rejected at the first use",
    "hadro": "release 0.7.1 is read-only, as its description says",
    "local-s3-server": "release 0.2.2 responds 404 without an error of S3: `UnavailableError` at the first use",
    "tiny-object-storage": "release 0.1.1 ignores PUT If-None-Match: rejected at the first use",
    "s3serve": "it shows buckets in a browser, and has no S3 interface",
    "pys3server": "a library to write servers with",
}
"""Stores that are not tested here, and why."""

_README = Path(__file__).parent / "README.md"
_MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.INCONCLUSIVE: "?", Outcome.SKIPPED: ""}


def markdown(results: Mapping[str, Result], missing: Mapping[str, str]) -> str:
    """The tables; `missing` are servers that cannot be had here, and why."""
    rows = [_row(name, result) for name, result in results.items()]
    rows += [(name, "", f"not tested: {_brief(why)}", "", "", "") for name, why in missing.items()]
    rows += [
        (title, "", f"not tested: {why}; run `s3dict doctor --deep`", "", "", "") for title, why in UNTRIED.items()
    ]
    head = ("Server", "Version", "Verdict", "Dict suite", "Races and histories", "Unsupported features")
    tried = {f"{result.date}, {result.machine}" for result in results.values()}
    return "\n\n".join((_table(head, rows), *(f"Tested: {each}." for each in sorted(tried)), _details(results)))


def _row(name: str, result: Result) -> tuple[str, ...]:
    # Of a server that is refused, nothing else matters.
    lacking = ", ".join(result.lacking) if result.refusal is None else ""
    races = "in one process only" if name == "memory" else _shown(result.races)
    suite, races = ("", "") if result.refusal is not None else (_shown(result.suite), races)
    return result.title, result.version, result.verdict, suite, races, lacking


def _shown(counts: object) -> str:
    return "not run" if counts is None else str(counts)


def _details(results: Mapping[str, Result]) -> str:
    head = ("", *(result.title for result in results.values()))
    rows = [(_named(name, required), *_marks(name, results)) for name, required in _features()]
    notes = "\n".join(_notes(results))
    summary = "<details><summary>What each supports: ✓ yes, ✗ no, ? inconclusive, blank: not tested</summary>"
    return f"{summary}\n\nFeatures in bold are required.\n\n{_table(head, rows)}\n\n{notes}\n\n</details>"


def _features() -> Iterable[tuple[str, bool]]:
    return ((feature.name, feature.required) for feature in FEATURES)


def _named(name: str, required: bool) -> str:
    return f"**{name}**" if required else name


def _marks(name: str, results: Mapping[str, Result]) -> Iterable[str]:
    for result in results.values():
        yield _MARKS[result.sights[name].verdict] if name in result.sights else ""


def _notes(results: Mapping[str, Result]) -> Iterable[str]:
    for result in results.values():
        seen = [
            f"{name}: {_brief(sight.detail)}"
            for name, sight in result.sights.items()
            if sight.verdict in (Outcome.FAILED, Outcome.INCONCLUSIVE)
        ]
        if seen:
            yield f"- {result.title}: {'; '.join(seen)}."


def _brief(detail: str) -> str:
    """Without addresses and the paths of scratch objects, which are others each time."""
    said = re.sub(r"(the connection broke):.*", r"\1", detail, flags=re.DOTALL)
    said = re.sub(r" on s3://.*?: ", ": ", said)
    return re.sub(r": '/[^']*'", "", said).strip().rstrip(".").replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_readme(tables: str) -> None:
    replace_block(_README, "server matrix", tables)
