"""Release 0.1 and the code of today as two processes on one bucket.

0.1 is taken from the history of the repository, so the test is skipped where there is none.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.modes import Endpoint

pytestmark = [pytest.mark.backends("moto", "seaweedfs"), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LAST_COMMIT_OF_0_1 = "a59c6e575bee"
WORKER = Path(__file__).with_name("mixed_worker.py")


class Release:
    """A process that runs one release."""

    def __init__(self, root: Path, endpoint: Endpoint, prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), endpoint.url, endpoint.bucket, prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        self.root = root

    def call(self, operation: str, *arguments: Any) -> Any:
        """Return the result of an operation. Raises RuntimeError with the error's name and message."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([operation, arguments]) + "\n")
        self._process.stdin.flush()
        kind, *answer = json.loads(self._process.stdout.readline())
        if kind == "error":
            raise RuntimeError(": ".join(answer))
        return answer[0]

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def root_of_0_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of 0.1, as the repository's history has it."""
    archive = subprocess.run(
        ["git", "archive", LAST_COMMIT_OF_0_1, "s3dict"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        pytest.skip(f"0.1 cannot be built, because the history is missing: {archive.stderr.decode().strip()}")
    root = tmp_path_factory.mktemp("v0.1")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(root, filter="data")
    return root


@pytest.fixture
def releases(root_of_0_1: Path, endpoint: Endpoint, request: pytest.FixtureRequest) -> Iterator[list[Release]]:
    """0.1 and today, on a dict that the one named by the parameter has created."""
    prefix = f"mixed-{os.getpid()}-{abs(hash(request.node.name)) % 10**9}"
    old, new = (Release(root, endpoint, prefix) for root in (root_of_0_1, ROOT))
    try:
        assert Path(old.call("where")).is_relative_to(root_of_0_1)
        assert Path(new.call("where")).is_relative_to(ROOT)
        creator, other = (old, new) if request.param == "old" else (new, old)
        assert creator.call("hydrate") == other.call("hydrate")
        yield [old, new]
    finally:
        old.close()
        new.close()


created_by_each = pytest.mark.parametrize("releases", ["old", "new"], indirect=True)


@created_by_each
def test_each_release_reads_what_the_other_writes(releases: list[Release]) -> None:
    for writer, reader in (releases, releases[::-1]):
        for value in (1, "text", None, [1, {"a": 2.5}], "x" * 100_000):
            writer.call("put", "k", value)
            assert reader.call("get", "k") == value
            assert reader.call("contains", "k")
        assert reader.call("pop", "k") == "x" * 100_000
        assert not writer.call("contains", "k")
        assert writer.call("get", "k") is None
        assert writer.call("pop", "k") is None
        # Over what the other's removal left behind.
        assert writer.call("put_if_missing", "k", 2)
        assert not reader.call("put_if_missing", "k", 3)
        assert reader.call("pop", "k") == 2


@created_by_each
def test_conditional_writes_of_both_releases_exclude_each_other(releases: list[Release]) -> None:
    old, new = releases
    for first, second in ((old, new), (new, old)):
        first.call("put", "k", 1)
        version = second.call("version", "k")
        assert first.call("put_version", "k", 2, version)
        assert not second.call("put_version", "k", 3, version)
    assert [release.call("increment", "n") for release in (old, new, new, old)] == [1, 2, 3, 4]
    assert old.call("setdefault", "s", "old") == new.call("setdefault", "s", "new") == "old"
    assert new.call("get_or_compute", "c", "new") == old.call("get_or_compute", "c", "old") == "new"
    for holder, next_holder in ((old, new), (new, old)):
        assert holder.call("lock", "job")
        assert next_holder.call("lock", "job")


@created_by_each
def test_listings_and_bulk_operations_of_both_releases_agree(releases: list[Release]) -> None:
    old, new = releases
    contents = {f"k{n}" * (100 if n % 7 == 0 else 1): n for n in range(40)}
    half = dict(list(contents.items())[:20])
    old.call("update", half)
    new.call("update", {key: value for key, value in contents.items() if key not in half})
    expected = sorted([key, value] for key, value in contents.items())
    for release in releases:
        assert release.call("len") == 40
        assert release.call("keys") == sorted(contents)
        assert release.call("items") == expected
        assert release.call("get_many", ["k1", "missing"]) == [["k1", 1]]
        assert release.call("list") == ["shared"]
    assert new.call("pop_many", ["k1", "k2"]) == [["k1", 1], ["k2", 2]]
    assert old.call("len") == 38
    old.call("clear")
    assert new.call("len") == 0


@pytest.mark.parametrize("releases", ["new"], indirect=True)
def test_0_1_refuses_an_entry_with_a_ttl_and_can_replace_it(releases: list[Release]) -> None:
    old, new = releases
    new.call("put_with_ttl", "k", 1, 3600)
    with pytest.raises(RuntimeError, match=r"IntegrityError: .*format 2.*upgrade"):
        old.call("get", "k")
    assert old.call("keys") == ["k"]
    old.call("put", "k", 2)
    assert new.call("get", "k") == 2
