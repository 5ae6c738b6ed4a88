"""Blocking requests with boto3."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..._retry import DEFAULT_POLICIES, RetryPolicies
from ..shared.threads import ThreadRuntime
from ..shared.timeouts import TimeoutVariants
from .requests import (
    S3Request,
    S3Requests,
    S3Response,
    disable_expect_continue,
    options,
    region,
    speed_up,
)

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

_METHODS_WITH_BODY = frozenset({"get_object", "list_objects_v2", "delete_objects"})
_LENGTH_HEADERS = frozenset({"content-length", "transfer-encoding"})
_HEAD_HEADERS = frozenset({"content-length", "etag", "last-modified"})
_BODY_FIELDS = frozenset({"Deleted", "Errors", "IsTruncated"})


class BotoStore(S3Requests):
    """One bucket through boto3, whose clients are made when first needed: that takes a tenth of a second."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None,
        region_name: str | None,
        session: boto3.Session | None,
        concurrency: int,
        timeout: float,
        retries: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        super().__init__(bucket, ThreadRuntime(concurrency), timeout, retries)
        self._concurrency = concurrency
        self._hurried = TimeoutVariants[BotoStore]()
        self._endpoint_url = endpoint_url
        self._region_name = region_name
        self._session = session
        self._session_lock = threading.Lock()
        self._made_client: S3Client | None = None

    def with_timeout(self, seconds: float) -> BotoStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> BotoStore:
        with self._session_lock:
            session = self._get_session()
        with_timeout = BotoStore(
            self.bucket,
            endpoint_url=self._endpoint_url,
            region_name=self._region_name,
            session=session,
            concurrency=self._concurrency,
            timeout=timeout,
            retries=self.retries,
        )
        with_timeout._session_lock = self._session_lock
        return with_timeout

    async def _execute(self, call: S3Request) -> S3Response:
        fields = getattr(self._client(), call.method)(**call.parameters)
        return S3Response(fields, _read(call.method, fields))

    def _client(self) -> S3Client:
        if self._made_client is not None:
            return self._made_client
        from botocore.config import Config

        # boto3 sessions are not safe to share between threads while they make clients; the clients are.
        with self._session_lock:
            if self._made_client is None:
                session = self._get_session()
                custom = self._endpoint_url is not None
                config = options(custom_endpoint=custom, concurrency=self._concurrency, timeout=self.timeout)
                signing_region = region(self._region_name, session, custom_endpoint=custom)
                client = session.client(
                    "s3", endpoint_url=self._endpoint_url, region_name=signing_region, config=Config(**config)
                )
                disable_expect_continue(client)
                self._made_client = client
            return self._made_client

    def _get_session(self) -> boto3.Session:
        """The session, which finds credentials once for this store and those in a hurry. Only under the lock."""
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
        raise ConnectionError("the answer broke off in its head")
    return body


def _is_truncated(method: str, fields: Any, body: bytes) -> bool:
    """Whether a head that tells less than it should had nothing behind it either.

    http.client takes what it has got of a head that broke off for all of it, and then there is no body: an empty
    object, or a deletion of many in which nothing went wrong. Who tells no length, but sends something, has answered.
    """
    headers = fields["ResponseMetadata"]["HTTPHeaders"].keys()
    if method == "head_object":
        return not headers >= _HEAD_HEADERS
    return method in _METHODS_WITH_BODY and not (_LENGTH_HEADERS & headers or body or _BODY_FIELDS & fields.keys())
