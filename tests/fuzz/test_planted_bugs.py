"""Mistakes that are planted in the library are found: otherwise the fuzzers would find nothing, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import corpus
from .engines import has_atheris, with_atheris, with_hypothesis
from .fuzz_targets import TARGETS
from .planted_bugs import PLANTED_BUGS

LONG_ENOUGH = 60


@pytest.mark.parametrize("plant", PLANTED_BUGS)
def test_hypothesis_finds_planted_bug_and_saves_the_example(
    plant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(corpus, "CORPUS", tmp_path)
    name, mistake = PLANTED_BUGS[plant]
    with mistake():
        outcome = with_hypothesis(TARGETS[name], LONG_ENOUGH)
        assert "ViolationError" in outcome.error
        [kept] = outcome.broken
        with pytest.raises(AssertionError, match="The library accepted"):
            TARGETS[name].check(kept.read_bytes())
    TARGETS[name].check(kept.read_bytes())


@pytest.mark.skipif(not has_atheris(), reason="atheris has no wheel for this Python or machine")
def test_atheris_finds_planted_bug() -> None:
    plant = "signature-after-unpickling"
    outcome = with_atheris(TARGETS[PLANTED_BUGS[plant][0]], LONG_ENOUGH, plant)
    assert "a pickle without a valid signature was loaded" in outcome.error
