"""The short form of `python -m tests.fuzz`: each target, with what the strategies and the corpus hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .corpus import CORPUS, folder_of, inputs_of
from .engines import exhaustively
from .fuzz_targets import TARGETS
from .strategies import WHATEVER_THEY_TAKE, hostile


@pytest.mark.parametrize("name", TARGETS)
def test_target_accepts_valid_input(name: str) -> None:
    for whole in TARGETS[name].seeds:
        TARGETS[name].check(whole)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=WHATEVER_THEY_TAKE)
@given(data=st.data())
def test_hostile_bytes_are_the_right_error_and_nothing_else(name: str, data: st.DataObject) -> None:
    TARGETS[name].check(data.draw(hostile(TARGETS[name])))


@pytest.mark.parametrize("name", TARGETS)
def test_every_truncation_every_flipped_bit_and_the_corpus_are_the_right_error(name: str) -> None:
    outcome = exhaustively(TARGETS[name], 0)
    assert (outcome.error, outcome.broken) == ("", ())


def test_corpus_belongs_to_targets_that_there_are() -> None:
    assert {folder_of(target) for target in TARGETS.values() if inputs_of(target)} == {
        folder for folder in CORPUS.iterdir() if folder.is_dir()
    }
