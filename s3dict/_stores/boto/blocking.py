"""Blocking requests with boto3."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..shared.connection import Connection
from ..shared.messages import S3Request, S3Response
from ..shared.threads import ThreadRuntime
from .requests import S3Requests
from .session import client_config, prepare_client, signing_region, speed_up

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

_METHODS_WITH_BODY = frozenset({"get_object", "list_objects_v2", "delete_objects"})
_LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})
_HEAD_HEADERS = frozenset({"content-length", "etag", "last-modified"})
_BODY_FIELDS = frozenset({"Deleted", "Errors", "IsTruncated"})


class BotoStore(S3Requests):
    """One bucket through boto3. Clients are made when first needed, which takes a tenth of a second."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, ThreadRuntime(connection.concurrency))
        self._session = connection.session
        self._session_lock = threading.RLock()
        self._made_client: list[S3Client] = []
        """At most one, which the paced view of this store shares."""

    def _with_timeout(self, timeout: float) -> BotoStore:
        variant = BotoStore(self._connection.with_timeout(timeout))
        with self._session_lock:
            variant._session, variant._session_lock = self._get_session(), self._session_lock
        return variant

    async def _execute(self, request: S3Request) -> S3Response:
        fields = getattr(self._client(), request.method)(**request.parameters)
        return S3Response(fields, _read(request.method, fields))

    def _client(self) -> S3Client:
        if self._made_client:
            return self._made_client[0]
        from botocore.config import Config

        connection = self._connection
        # Threads cannot share a boto3 session while it makes clients; the clients can be shared.
        with self._session_lock:
            if not self._made_client:
                session = self._get_session()
                custom = connection.endpoint_url is not None
                config = client_config(custom_endpoint=custom, concurrency=connection.concurrency, timeout=self.timeout)
                client = session.client(
                    "s3",
                    endpoint_url=connection.endpoint_url,
                    region_name=signing_region(connection.region_name, session, custom_endpoint=custom),
                    config=Config(**config),
                )
                prepare_client(client)
                self._made_client.append(client)
            return self._made_client[0]

    async def _close(self) -> None:
        with self._session_lock:
            clients = self._made_client.copy()
            self._made_client.clear()
        for client in clients:
            client.close()

    def _get_session(self) -> boto3.Session:
        """Return the session, which resolves credentials once for all timeouts. Call it under the lock."""
        if self._session is None:
            import boto3

            self._session = boto3.Session()
            speed_up(self._session._session)
        return self._session


def _read(method: str, fields: Any) -> bytes:
    body: bytes = b""
    if "Body" in fields:
        with fields["Body"] as stream:
            body = stream.read()
    if _is_truncated(method, fields, body):
        raise ConnectionError("the response broke off in its headers")
    return body


def _is_truncated(method: str, fields: Any, body: bytes) -> bool:
    """Return whether the headers broke off, so that the body is missing too.

    http.client takes headers that break off for complete, and then there is no body: an empty object, or a bulk
    deletion without failures. A server that sends no length, but a body, has sent its headers completely.
    """
    headers = fields["ResponseMetadata"]["HTTPHeaders"].keys()
    if method == "head_object":
        return not headers >= _HEAD_HEADERS
    return method in _METHODS_WITH_BODY and not (_LENGTH_HEADERS & headers or body or _BODY_FIELDS & fields.keys())
