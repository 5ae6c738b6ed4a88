"""The plugin as users have it: in suites of their own, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from s3dict import Client, Dict

pytestmark = pytest.mark.slow  # most tests start processes

Run = Callable[..., subprocess.CompletedProcess[str]]

visits: Dict[str, int] = Dict.from_name("visits", create_if_missing=True)
"""As an application has it: at module level, and bound to no client."""


def visit(name: str) -> int:
    return visits.modify(name, lambda count: count + 1, default=0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on a suite with this conftest and this one module."""

    def run(module: str, *options: str, conftest: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / "conftest.py").write_text(textwrap.dedent(conftest))
        (tmp_path / "test_suite.py").write_text(textwrap.dedent(module))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
        return subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_begins_with_nothing_also_for_handles_at_module_level(s3dict_client: Client, turn: int) -> None:
    assert visit("alice") == 1
    assert visit("alice") == 2
    assert Dict.from_name("visits", client=s3dict_client)["alice"] == 2


def test_environment_describes_the_client(s3dict_client: Client) -> None:
    assert Client.from_env() is s3dict_client
    assert s3dict_client.driver == "memory"
    assert os.environ["S3DICT_BUCKET"] == s3dict_client.bucket


def test_client_for_clocks_and_faults_is_always_in_memory(s3dict_memory_client: Client) -> None:
    assert Client.from_env() is s3dict_memory_client
    assert s3dict_memory_client.driver == "memory"


def test_plugin_restores_the_environment(run: Run) -> None:
    conftest = """
        import os
        os.environ.update(S3DICT_BUCKET="mine", S3DICT_PREFIX="shared", S3DICT_SIGNING_KEYS="a-key-of-16-bytes-or-more")
    """
    module = """
        import os
        from s3dict import Client, Dict
        from s3dict._stores import memory

        def test_one(s3dict_client, monkeypatch):
            Dict.from_name("d", create_if_missing=True)["k"] = bytes(1000)
            assert [s3dict_client.bucket] == list(memory._buckets)
            assert "mine" != s3dict_client.bucket
            assert "S3DICT_SIGNING_KEYS" not in os.environ
            monkeypatch.undo()
            assert Client.from_env() is s3dict_client

        def test_two():
            assert {} == memory._buckets
            assert ("mine", "shared") == (Client.from_env().bucket, Client.from_env().prefix)
    """
    ran = run(module, conftest=conftest)
    assert "2 passed" in ran.stdout, ran.stdout


@pytest.mark.parametrize("options", [(), ("--s3dict-shell-bucket",)])
def test_plugin_hides_the_bucket_of_the_shell(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "of-the-developer")
    monkeypatch.setenv("S3DICT_DRIVER", "memory")
    module = """
        import os

        def test_bucket():
            print("bucket:", os.environ.get("S3DICT_BUCKET"))
    """
    assert f"bucket: {'of-the-developer' if options else None}" in run(module, "-s", *options).stdout


def test_local_is_a_real_s3_with_a_place_for_each_test(run: Run) -> None:
    module = """
        import subprocess
        import sys
        import pytest
        from s3dict import Client, Dict

        d = Dict.from_name("d", create_if_missing=True)

        @pytest.mark.parametrize("turn", [1, 2])
        def test_places(s3dict_client, turn):
            assert s3dict_client.driver in ("boto3", "obstore")
            assert s3dict_client.endpoint_url.startswith("http://127.0.0.1:")
            assert d.put("k", turn, skip_if_exists=True)

        def test_other_processes_find_it(s3dict_client):
            d["k"] = 1
            subprocess.run([sys.executable, "-c", "from s3dict import Dict; Dict.from_name('d')['k'] += 1"], check=True)
            assert 2 == d["k"]

        def test_what_needs_memory_has_it(s3dict_memory_client):
            assert "memory" == s3dict_memory_client.driver
    """
    ran = run(module, "--s3dict=local")
    assert "4 passed" in ran.stdout, ran.stdout


def test_suite_that_does_not_use_it_loads_nothing_of_ours_and_no_driver(run: Run, tmp_path: Path) -> None:
    conftest = """
        import json
        import sys
        from pathlib import Path

        def pytest_unconfigure(config):
            Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
    """

    def loaded(*options: str) -> set[str]:
        ran = run("def test_nothing(): pass", *options, conftest=conftest)
        assert "1 passed" in ran.stdout, ran.stdout
        return set(json.loads((tmp_path / "modules.json").read_text()))

    assert loaded() - loaded("-p", "no:s3dict") == {"_s3dict_pytest"}
