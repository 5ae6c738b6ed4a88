"""The Lambda example counts, in whatever execution environment an invocation lands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

from s3dict import Client, Dict

from ..support.modes import Endpoint
from .policies import MODULE

# What Lambda does with a function: it imports the module once, then calls the handler for each event.
_RUNTIME = textwrap.dedent("""
    import importlib, json, sys

    module, _, function = sys.argv[1].partition(".")
    handler = getattr(importlib.import_module(module), function)
    print(json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
""")


def _invoke(pages: list[str], endpoint: Endpoint) -> Any:
    """A new execution environment, in which the first invocation is cold and the others are warm."""
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "s3dict-visits",
        "PYTHONPATH": os.pathsep.join([str(MODULE / "examples/lambda/src"), str(MODULE.parent)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "S3DICT_BUCKET": endpoint.bucket,
        "S3DICT_ENDPOINT_URL": endpoint.url,
        "S3DICT_ENVIRONMENT": "prod",
        "S3DICT_PREFIX": f"lambda-{os.getpid()}",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUNTIME, "visits.handler"],
        input=json.dumps([{"page": page} for page in pages]),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.stderr, run.returncode) == ("", 0)
    return [(answer["page"], answer["visits"]) for answer in json.loads(run.stdout)]


def test_cold_and_warm_invocations_count_on(seaweedfs: Endpoint) -> None:
    assert _invoke(["home", "home", "docs"], seaweedfs) == [("home", 1), ("home", 2), ("docs", 1)]
    assert _invoke(["home", "docs"], seaweedfs) == [("home", 3), ("docs", 2)]
    client = Client(
        seaweedfs.bucket,
        prefix=f"lambda-{os.getpid()}",
        endpoint_url=seaweedfs.url,
        environment_name="prod",
    )
    visits: Dict[str, int] = Dict.from_name("visits", client=client)
    assert dict(visits.items()) == {"home": 3, "docs": 2}
    assert visits.info().created_by == "lambda:s3dict-visits"
