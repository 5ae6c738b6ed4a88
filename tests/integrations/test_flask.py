"""S3DictCache of cachelib as Flask's extensions use it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import flask
import pytest
from flask_caching import Cache

from s3dict import Client, Dict
from s3dict.integrations.cachelib import S3DictCache
from s3dict.testing import Clock

pytestmark = pytest.mark.backends("memory")


def test_flask_caching_forgets_what_is_deleted(client: Client) -> None:
    app = flask.Flask("test")
    app.config.update(
        CACHE_TYPE="s3dict.integrations.cachelib.S3DictCache",
        CACHE_ARGS=["cache"],
        CACHE_OPTIONS={"client": client, "key_prefix": "pre-"},
        CACHE_DEFAULT_TIMEOUT=60,
    )
    cache, calls = Cache(app), list[Any]()

    @cache.memoize()
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @cache.cached(key_prefix="nothing")
    def nothing() -> None:
        calls.append(None)

    with app.app_context():
        assert [double(1), double(1), double(2)] == [2, 2, 4]
        cache.delete_memoized(double, 1)
        assert [double(1), double(2)] == [2, 4]
        cache.delete_memoized(double)
        assert [double(1), double(2)] == [2, 4]
        cache.set("a", 1)
        assert cache.get_many("a", "b") == [1, None]
    assert calls == [1, 2, 1, 1, 2]
    entry = Dict.from_name("cache", client=client).entry("pre-a")
    assert entry is not None
    assert entry.expires_at == entry.last_modified + timedelta(seconds=60)


@pytest.mark.parametrize("is_permanent", [True, False])
def test_flask_session_lives_as_long_as_it_is_used(client: Client, is_permanent: bool) -> None:
    flask_session = pytest.importorskip("flask_session", reason="Flask-Session is of the extra peers")
    app = flask.Flask("test")
    app.config.update(
        SECRET_KEY="not a secret",
        SESSION_TYPE="cachelib",
        SESSION_CACHELIB=S3DictCache("sessions", client=client),
        SESSION_PERMANENT=is_permanent,
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=5),
    )
    flask_session.Session(app)

    @app.route("/")
    def count() -> str:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        return str(flask.session["visits"])

    @app.route("/leave")
    def leave() -> str:
        flask.session.clear()
        return "gone"

    clock = Clock(client)
    with app.test_client() as browser:
        seen = [browser.get("/").text]
        for minutes in (4, 4, 6):
            clock.advance(timedelta(minutes=minutes))
            seen.append(browser.get("/").text)
        assert seen == ["1", "2", "3", "1"]
        assert [browser.get("/leave").text, browser.get("/").text] == ["gone", "1"]
