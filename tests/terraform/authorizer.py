"""An S3 server that asks IAM as AWS does, conditions included, where moto's own enforcement stops.

It asks for each key of a DeleteObjects, for the source of a CopyObject, and for what an If-Match reveals; and it
answers 403 instead of 404 where the caller may not list the missing key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.test import run_wsgi_app

from ..support.wsgi_server import AtomicServer
from .policies import Ask, Grant, Policy

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Authorizer"]

_BUCKET_ACTIONS = {
    ("GET", "encryption"): "s3:GetEncryptionConfiguration",
    ("GET", "lifecycle"): "s3:GetLifecycleConfiguration",
    ("GET", "list-type"): "s3:ListBucket",
    ("GET", "publicAccessBlock"): "s3:GetBucketPublicAccessBlock",
    ("GET", "versioning"): "s3:GetBucketVersioning",
    ("PUT", "encryption"): "s3:PutEncryptionConfiguration",
    ("PUT", "lifecycle"): "s3:PutLifecycleConfiguration",
    ("PUT", "publicAccessBlock"): "s3:PutBucketPublicAccessBlock",
}
_OBJECT_ACTIONS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


class Authorizer(AtomicServer):
    """Serves `application` to those whose access key is the name of a policy that allows what they ask."""

    def __init__(self, application: WSGIApplication) -> None:
        super().__init__(self._authorize)
        self._application = application
        self.used: set[Grant] = set()
        """What allowed some request so far."""
        self.denied: list[Ask] = []

    def _authorize(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        signed_by = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        if signed_by is None:
            return _deny(start_response)
        policy = Policy(signed_by[1])
        parameters = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        if environ["REQUEST_METHOD"] == "POST" and "delete" in parameters:
            return self._delete_objects(policy, environ, start_response)
        if not all(self._permits(policy, ask) for ask in _asks(environ, parameters)):
            return _deny(start_response)
        return self._answer(policy, environ, start_response)

    def _permits(self, policy: Policy, ask: Ask) -> bool:
        granting = set(policy.granting(ask))
        self.used |= granting
        if not granting:
            self.denied.append(ask)
        return bool(granting)

    def _answer(self, policy: Policy, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body, status, headers = run_wsgi_app(self._application, environ, buffered=True)
        bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
        is_missing = status.startswith("404") and bool(key)
        if is_missing and not self._permits(policy, Ask("s3:ListBucket", bucket, {"s3:prefix": key})):
            return _deny(start_response)
        start_response(status, list(headers))
        return body

    def _delete_objects(
        self, policy: Policy, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        bucket = environ["PATH_INFO"].strip("/")
        body = environ["wsgi.input"].read()
        objects = list(ElementTree.fromstring(body).iterfind("{*}Object"))
        keys = [item.findtext("{*}Key", "") for item in objects]
        denied = [
            key
            for key, item in zip(keys, objects, strict=True)
            if not all(self._permits(policy, ask) for ask in _delete_asks(f"{bucket}/{key}", item.findtext("{*}ETag")))
        ]
        if not denied:
            return self._application({**environ, "wsgi.input": BytesIO(body)}, start_response)
        assert denied == keys, "no call here mixes keys of several environments"
        errors = "".join(f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code></Error>" for key in denied)
        start_response("200 OK", [("Content-Type", "application/xml")])
        return [f"<DeleteResult>{errors}</DeleteResult>".encode()]


def _asks(environ: WSGIEnvironment, parameters: Mapping[str, list[str]]) -> list[Ask]:
    """What AWS asks IAM before it does what the request says."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/")
    if "/" not in path:
        action = next((_BUCKET_ACTIONS[method, name] for name in parameters if (method, name) in _BUCKET_ACTIONS), None)
        assert action is not None or method == "HEAD", f"{method} {path} {parameters}"
        prefixed = {"s3:prefix": parameters["prefix"][0]} if "prefix" in parameters else {}
        return [Ask(action or "s3:ListBucket", path, prefixed)]
    conditions = {"s3:if-match": "HTTP_IF_MATCH", "s3:if-none-match": "HTTP_IF_NONE_MATCH"}
    context = {key: environ[header] for key, header in conditions.items() if header in environ}
    asks = [Ask(_OBJECT_ACTIONS[method], path, context)]
    if "s3:if-match" in context and method != "GET":
        asks.append(Ask("s3:GetObject", path))
    if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
        asks.append(Ask("s3:GetObject", unquote(source).strip("/")))
    return asks


def _delete_asks(path: str, if_match: str | None) -> list[Ask]:
    """What AWS asks IAM for one object of a DeleteObjects. The object's ETag element is its If-Match."""
    if if_match is None:
        return [Ask("s3:DeleteObject", path)]
    return [Ask("s3:DeleteObject", path, {"s3:if-match": if_match}), Ask("s3:GetObject", path)]


def _deny(start_response: StartResponse) -> list[bytes]:
    start_response("403 Forbidden", [("Content-Type", "application/xml")])
    return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
