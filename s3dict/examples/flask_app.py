"""A Flask app that caches with Flask-Caching in a Dict.

Run it with ``python -m s3dict.examples.flask_app --port 8000``, and once more on another port with the same
``S3DICT_*`` variables: what one has computed, the other returns.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser
from wsgiref.simple_server import make_server

from .bucket import example_bucket

try:
    from flask import Flask, Response, jsonify
    from flask_caching import Cache
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 's3-shared-dict[frameworks,local]'")

app = Flask(__name__)
cache = Cache()


@cache.memoize(timeout=300)
def report(name: str) -> dict[str, object]:
    """Compute what takes long; the process that did it is in the result."""
    time.sleep(0.1)
    return {"name": name, "computed_by": os.getpid()}


@app.get("/<name>")
def show(name: str) -> Response:
    return jsonify(report(name))


if __name__ == "__main__":
    parser = ArgumentParser(description="A Flask app whose cache is in a Dict")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with example_bucket() as bucket:
        app.config.update(CACHE_TYPE="s3dict.integrations.cachelib.S3DictCache", CACHE_ARGS=["flask-app"])
        cache.init_app(app)
        with make_server("127.0.0.1", port, app) as server:
            print(f"http://127.0.0.1:{server.server_port}/ over {bucket}", flush=True)
            server.serve_forever()
