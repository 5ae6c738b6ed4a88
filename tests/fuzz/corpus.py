"""Inputs that once broke something. They are tried again in every run of the tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .fuzz_targets import Target

CORPUS = Path(__file__).parent / "corpus"


def inputs_of(target: Target) -> list[Path]:
    return sorted(path for path in folder_of(target).glob("*") if path.is_file())


def keep(target: Target, data: bytes) -> Path:
    path = folder_of(target) / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def folder_of(target: Target) -> Path:
    return CORPUS / target.name.replace(" ", "-")
