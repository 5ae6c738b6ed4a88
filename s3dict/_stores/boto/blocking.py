"""Blocking requests with boto3."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..shared.threads import Threads
from ..shared.timeouts import Hurried
from .requests import SENDINGS, Answer, Call, S3Requests, count_sendings, options, region, send_at_once, tune

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

_TELL_LENGTH = frozenset({"get_object", "list_objects_v2", "delete_objects"})
_LENGTHS = frozenset({"content-length", "transfer-encoding"})
_HEAD = frozenset({"content-length", "etag", "last-modified"})
_FROM_BODY = frozenset({"Deleted", "Errors", "IsTruncated"})


class BotoStore(S3Requests, Threads):
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
    ) -> None:
        super().__init__(concurrency)
        self.bucket = bucket
        self.timeout = timeout
        self._hurried = Hurried[BotoStore]()
        self._endpoint_url = endpoint_url
        self._region_name = region_name
        self._session = session
        self._making = threading.Lock()
        self._clients: dict[bool, S3Client] = {}

    def hurried(self, seconds: float) -> BotoStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> BotoStore:
        with self._making:
            session = self._lender()
        hurried = BotoStore(
            self.bucket,
            endpoint_url=self._endpoint_url,
            region_name=self._region_name,
            session=session,
            concurrency=self._concurrency,
            timeout=timeout,
        )
        hurried._making = self._making
        return hurried

    async def exchange(self, call: Call) -> Answer:
        for again in range(SENDINGS):
            fields = getattr(self._client(call.once), call.method)(**call.parameters)
            try:
                return Answer(fields, _read(call.method, fields), again)
            except Exception:
                # botocore retries until the headers are there; a body that breaks off after them is ours to fetch
                # again.
                if again == SENDINGS - 1:
                    raise
        raise AssertionError("unreachable")

    def _client(self, once: bool) -> S3Client:
        client = self._clients.get(once)
        return client if client is not None else self._make_client(once)

    def _make_client(self, once: bool) -> S3Client:
        from botocore.config import Config

        # boto3 sessions are not safe to share between threads while they make clients; the clients are.
        with self._making:
            if once not in self._clients:
                session = self._lender()
                custom = self._endpoint_url is not None
                how = options(custom_endpoint=custom, concurrency=self._concurrency, timeout=self.timeout, once=once)
                signed_for = region(self._region_name, session, custom_endpoint=custom)
                self._clients[once] = session.client(
                    "s3", endpoint_url=self._endpoint_url, region_name=signed_for, config=Config(**how)
                )
                send_at_once(self._clients[once])
                count_sendings(self._clients[once])
            return self._clients[once]

    def _lender(self) -> boto3.Session:
        """The session, which finds credentials once for this store and those in a hurry. Only under the lock."""
        if self._session is None:
            import boto3

            self._session = boto3.Session()
            tune(self._session._session)
        return self._session


def _read(method: str, fields: Any) -> bytes:
    body: bytes = b""
    if "Body" in fields:
        with fields["Body"] as stream:
            body = stream.read()
    if _broke_off(method, fields, body):
        raise ConnectionError("the answer broke off in its head")
    return body


def _broke_off(method: str, fields: Any, body: bytes) -> bool:
    """Whether a head that tells less than it should had nothing behind it either.

    http.client takes what it has got of a head that broke off for all of it, and then there is no body: an empty
    object, or a deletion of many in which nothing went wrong. Who tells no length, but sends something, has answered.
    """
    headers = fields["ResponseMetadata"]["HTTPHeaders"].keys()
    if method == "head_object":
        return not _HEAD <= headers
    return method in _TELL_LENGTH and not (_LENGTHS & headers or body or _FROM_BODY & fields.keys())
