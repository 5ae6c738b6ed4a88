"""The interpreters that peers run in: ours, or where their pins conflict with ours a virtual environment of their own.

Environments are made when they are first needed, and kept in the user's cache directory for later runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .catalogue import Kind

__all__ = ["interpreter", "versions"]

_INSTALL_SECONDS = 300.0
_LIST_VERSIONS = """
import importlib.metadata, json
print(json.dumps({found.name.lower(): found.version for found in importlib.metadata.distributions()}))
"""


def interpreter(kind: Kind) -> Path:
    """The Python that has what the peer needs. Raises RuntimeError when it cannot be installed."""
    if not kind.is_ours:
        return kind.root / ".venv" / "bin" / "python"
    if not kind.requirements:
        return Path(sys.executable)
    wanted = hashlib.sha256(repr((kind.requirements, sys.version)).encode()).hexdigest()[:12]
    root = _cache() / f"{kind.module}-{wanted}"
    python = root / "bin" / "python"
    # The mark distinguishes a finished installation from an interrupted one.
    mark = root / "installed"
    if not (mark.exists() and python.exists()):
        shutil.rmtree(root, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(root))
        _run(str(python), "-m", "pip", "install", "--quiet", *kind.requirements)
        mark.touch()
    return python


def versions(kind: Kind) -> dict[str, str]:
    """The releases of everything that is installed where the peer runs."""
    found: dict[str, str] = json.loads(_run(str(interpreter(kind)), "-c", _LIST_VERSIONS))
    return found


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s3dict-benchmarks"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
