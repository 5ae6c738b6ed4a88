"""Blocking requests with boto3."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from ..shared.connection import Connection
from ..shared.messages import S3Request, S3Response
from ..shared.proxies import proxy_headers
from ..shared.threads import ThreadRuntime
from .requests import S3Requests
from .session import (
    IdentityCache,
    client_arguments,
    client_config,
    prepare_client,
    trust_system_store,
    use_identity_cache,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_METHODS_WITH_BODY = frozenset({"get_object", "list_objects_v2", "delete_objects"})
_LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})
_HEAD_HEADERS = frozenset({"content-length", "etag", "last-modified"})
_BODY_FIELDS = frozenset({"Deleted", "Errors", "IsTruncated"})


class BotoStore(S3Requests):
    """One bucket through boto3. Clients are made when first needed, which takes a tenth of a second."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, ThreadRuntime(connection.concurrency))
        # A signal handler may use the store while its thread makes a client.
        self._client_lock = threading.RLock()
        self._made_client: list[tuple[int, S3Client]] = []
        """At most one, of one generation, which the paced view of this store shares."""

    def _with_timeout(self, timeout: float) -> BotoStore:
        return BotoStore(self._connection.with_timeout(timeout))

    async def _execute(self, request: S3Request) -> S3Response:
        fields = getattr(self._client(), request.method)(**request.parameters)
        return S3Response(fields, _read(request.method, fields), self._connection.where)

    def _client(self) -> S3Client:
        made, generation = self._made_client, self._connection.generation
        if made and made[0][0] == generation:
            return made[0][1]
        with self._client_lock:
            if not made or made[0][0] != generation:
                client = self._make_client()
                previous = list(made)
                made[:] = [(generation, client)]
                for _, replaced in previous:
                    # Requests in flight keep their connections.
                    replaced.close()
            return made[0][1]

    def _make_client(self) -> S3Client:
        from botocore.config import Config

        connection = self._connection
        arguments, config = client_arguments(connection), Config(**client_config(connection))
        client: S3Client = connection.make_boto_client(config, arguments)
        prepare_client(client, connection)
        if connection.zone is not None:
            use_identity_cache(client, IdentityCache(connection))
        _set_up_connections(client, connection)
        return client

    async def _close(self) -> None:
        with self._client_lock:
            made = self._made_client.copy()
            self._made_client.clear()
        for _, client in made:
            client.close()


def _set_up_connections(client: Any, connection: Connection) -> None:
    """Let connections trust the system's certificates, authenticate to every proxy, and follow no redirect.

    botocore does not verify the certificate of a proxy where the endpoint is http://.
    """
    session = client._endpoint.http_session
    context = session._manager.connection_pool_kw["ssl_context"]
    trust_system_store(context, connection)
    # The managers for proxies are made later.
    session._get_ssl_context = lambda: context
    session._proxy_config.proxy_headers_for = proxy_headers
    if connection.settings.uses_tls:
        set_up = session._setup_ssl_cert
        session._setup_ssl_cert = lambda pool, _, verify: set_up(pool, "https:", verify)
    session._pool_classes_by_scheme = {
        scheme: _without_redirects(pool) for scheme, pool in session._pool_classes_by_scheme.items()
    }
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme


@cache
def _without_redirects(pool: Any) -> Any:
    """Return a class of connection pools that returns a 303, which urllib3 would prepare to follow.

    An interim response, such as 103, is an error: http.client takes it for the final one, which would then be read as
    that to the next request over the same connection.
    """
    from urllib3.exceptions import ProtocolError

    class Pool(pool):  # type: ignore[misc] # any class
        def urlopen(self, *arguments: Any, **options: Any) -> Any:
            response = super().urlopen(*arguments, **options, redirect=False)
            if response.status < 200:
                response.close()
                raise ProtocolError(f"The server sent an interim response ({response.status})")
            return response

    return Pool


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
