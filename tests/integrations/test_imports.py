"""Nothing but an adapter imports its framework."""

from __future__ import annotations

import subprocess
import sys

FRAMEWORKS = ("aiocache", "cachelib", "django", "dogpile", "fastmcp", "flask", "joblib", "key_value", "langgraph")
PROGRAM = """
import importlib, pkgutil, sys
import s3dict, s3dict.integrations
for folder in ("_admin", "_core", "_format", "_stores", "cli", "testing"):
    package = importlib.import_module(f"s3dict.{folder}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("pytest_plugin"):
            importlib.import_module(module.name)
s3dict.Dict.from_name("d", create_if_missing=True, client=s3dict.Client("b", driver="memory"))["k"] = 1
print(*sys.modules)
"""


def test_package_and_command_import_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "typer" in loaded
    assert loaded.isdisjoint(FRAMEWORKS)
