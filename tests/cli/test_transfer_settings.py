"""Exports carry the dict's ttl and codec and the expiry of entries."""

from __future__ import annotations

import json
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict, InvalidError
from s3dict._stores.memory import MemoryBucket, memory_bucket

from ..support.commands import answer

FORMS = pytest.mark.parametrize("form", ["jsonl", "pickle"])


@pytest.fixture
def bucket(configured: Client) -> MemoryBucket:
    return memory_bucket(configured.bucket)


def create(name: str, client: Client, **options: Any) -> Dict[Any, Any]:
    return Dict.from_name(name, create_if_missing=True, client=client, **options).hydrate()


@FORMS
def test_expiry_of_an_entry_survives_export_and_import(
    form: str, configured: Client, bucket: MemoryBucket, tmp_path: Path
) -> None:
    d, file = create("d", configured), tmp_path / f"d.{form}"
    d.put("k", 1, ttl=3600)
    d["lasting"] = 2
    expires_at = getattr(d.entry("k"), "expires_at", None)
    assert answer("export", "d", str(file), "--format", form).exit_code == 0
    bucket.advance(timedelta(seconds=1800))
    d.clear()
    assert answer("import", "d", str(file), "--format", form).exit_code == 0
    assert getattr(d.entry("k"), "expires_at", None) == expires_at
    assert getattr(d.entry("lasting"), "expires_at", None) is None
    bucket.advance(timedelta(seconds=1802))
    assert dict(d.items()) == {"lasting": 2}
    assert answer("import", "d", str(file), "--format", form, "--skip-existing").exit_code == 0
    assert d.get("k") is None


@FORMS
def test_missing_dict_is_created_with_the_settings_of_the_file(form: str, configured: Client, tmp_path: Path) -> None:
    file = tmp_path / f"d.{form}"
    create("d", configured, ttl=timedelta(hours=5), codec="json").update({"k": [1]})
    create("empty", configured, ttl=None, codec="bytes")
    for name in ("d", "empty"):
        assert answer("export", name, str(file), "--format", form).exit_code == 0
        Dict.objects.delete(name, client=configured)
        assert answer("import", name, str(file), "--format", form).exit_code == 1
        assert answer("import", name, str(file), "--format", form, "--create").exit_code == 0
    restored = Dict.from_name("d", client=configured)
    assert (restored.info().ttl, restored.info().codec) == (timedelta(hours=5), "json")
    assert dict(restored.items()) == {"k": [1]}
    empty = Dict.from_name("empty", client=configured).info()
    assert (empty.ttl, empty.codec) == (None, "bytes")


@pytest.mark.parametrize("expires_at", [0, -1, 1.5, "soon", True, 10**20])
def test_invalid_expiry_in_a_file_names_the_line(expires_at: Any, configured: Client, tmp_path: Path) -> None:
    create("d", configured)
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps({"key": "k", "value": 1, "expires_at": expires_at}) + "\n")
    failed = answer("import", "d", str(file))
    assert failed.exit_code == 1
    assert "at byte 0" in str(failed.error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_settings_are_not_read_from_a_pipe(configured: Client, tmp_path: Path) -> None:
    """Opened twice, it would give each reader a part of what is in it."""
    assert configured.bucket
    pipe, line = tmp_path / "pipe", b'{"key": "k", "value": 1}\n'
    os.mkfifo(pipe)
    sender = threading.Thread(target=pipe.write_bytes, args=(line,), daemon=True)
    sender.start()
    error = answer("import", "new", str(pipe), "--create").error
    sender.join()
    assert isinstance(error, InvalidError)
    assert "which is not a file" in str(error)
