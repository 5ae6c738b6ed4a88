"""The short form of `python -m tests.peers`: the tests that come in wheels, in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from .catalogue import PEERS, Peer
from .report import Row, table
from .runs import Counts, UnavailableSuiteError, run

pytestmark = pytest.mark.slow
MEMORY = {"S3DICT_DRIVER": "memory", "S3DICT_BUCKET": "peers", "S3DICT_PREFIX": "short"}
SHORT = {"dogpile": "TestMutex or TestSerializer"}
"""The other classes run the same tests with other options."""
LEAST = {"dogpile": 30, "joblib": 50, "cpython": 13, "zict": 4, "langgraph": 50}
"""How many tests ran at least when the suite was adapted: fewer are a suite that is no longer found."""


@pytest.mark.parametrize("peer", [peer for peer in PEERS if not peer.copied], ids=lambda peer: peer.name)
def test_suite_in_a_wheel_passes(peer: Peer, tmp_path: Path) -> None:
    try:
        counts = run(peer, MEMORY, tmp_path, None, 280, SHORT.get(peer.name, ""))
    except UnavailableSuiteError as error:
        if peer.name == "langgraph":  # its tests are a package of their own, of the extra peers
            pytest.skip(str(error))
        raise
    assert counts.failures == ()
    assert counts.passed >= LEAST[peer.name]


def test_suite_that_is_not_installed_is_named(tmp_path: Path) -> None:
    peer = Peer("absent", "Absent", "peer_zict.py", ("a-distribution-that-does-not-exist",))
    with pytest.raises(UnavailableSuiteError, match=r"pip install '\.\[peers\]'"):
        run(peer, MEMORY, tmp_path, None, 1)


def test_table_has_a_row_for_each_suite_and_a_column_for_each_back_end() -> None:
    peer = Peer("a", "A", "", (), not_applicable={"no files": ("TestA::test_b", "test_c")})
    rows = [Row(peer, "memory", Counts(3, ("x",), 0), ""), Row(peer, "boto3", None, "not installed\nbecause")]
    assert table(rows).splitlines() == [
        "| Tests | memory | boto3 | Not applicable |",
        "|---|---|---|---|",
        "| A  | 3 of 4 | not run: not installed | no files: `test_b`, `test_c` |",
    ]
