"""obstore's stores for one bucket: endpoint, credentials and timeouts.

obstore reads variables of its own too (`AWS_ENDPOINT`, `AWS_SKIP_SIGNATURE`, `HTTPS_PROXY`, …); all options that they
could change are set explicitly, from the connection's settings, so that all drivers do the same.
"""

from __future__ import annotations

import os
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from ...errors import Error, InvalidError, UnavailableError
from ..shared.connection import Connection, ConnectionSettings
from ..shared.errors import redirect_error
from ..shared.messages import S3Request
from ..shared.timeouts import CONNECT_SECONDS, HasTimeoutVariants
from .credentials import credential_options
from .errors import translate_obstore_exception
from .server_clock import ServerClock

if TYPE_CHECKING:
    from obstore.store import ClientConfig

    from ..shared.sessions import SessionCredentials

MIN_VERSION = (0, 12)
"""Earlier releases report less of a response, and in other words."""
MEGABYTE = 1 << 20
SECONDS_PER_MEGABYTE = 8
IDLE_SECONDS = 4
"""Servers keep an idle connection for at least five seconds."""


_runtime_pid: int | None = None
_checked_urls: set[str] = set()
"""The buckets on custom endpoints that did not redirect when this process first wrote to them."""


def usable_in_this_process() -> bool:
    """Return False in a child that was forked after its parent had used obstore.

    The threads of obstore's runtime are not forked with it: the first request would wait for them indefinitely.
    """
    return _runtime_pid in (None, os.getpid())


class _Prepared:
    """What all timeouts share, made from one generation of the connection."""

    def __init__(self, connection: Connection) -> None:
        self.generation = connection.generation
        self.session = None if connection.zone is None else connection.session_credentials()
        self.options = _store_options(connection, self.session)
        self.stores: dict[float, S3Store] = {}


class ObstoreClients(HasTimeoutVariants):
    """Makes obstore's stores for one bucket, and its clock. Threads and event loops share it; a forked child must not.

    Making one reads nothing and connects to nothing.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.timeout)
        self.connection = connection
        self._lock = threading.RLock()
        self._prepared: _Prepared | None = None
        self._clock: ServerClock | None = None
        self._checked_for_reads = False

    @property
    def bucket(self) -> str:
        return self.connection.arguments.bucket

    def _with_timeout(self, timeout: float) -> ObstoreClients:
        # Finding credentials may take a request, or a code that a person types: once is enough.
        variant = ObstoreClients(self.connection.with_timeout(timeout))
        variant._prepared, variant._clock = self._prepare(), self.clock
        return variant

    @property
    def clock(self) -> ServerClock:
        if self._clock is None:
            with self._lock:
                if self._clock is None:
                    settings = self.connection.settings
                    self._clock = ServerClock(
                        settings.bucket_url,
                        self._signed_url,
                        trust=settings.trust,
                        proxy=settings.proxy,
                        headers=self.connection.arguments.common_headers(),
                        timeout=self.timeout,
                        observer=self.connection.observer,
                    )
        return self._clock

    def store(self, size: int = 0) -> S3Store:
        """Return the store for a request with a body of `size` bytes: the timeout grows with it."""
        seconds = read_timeout(size, self.timeout)
        prepared = self._prepare()
        store = prepared.stores.get(seconds)
        return store if store is not None else self._make(prepared, seconds)

    def _prepare(self) -> _Prepared:
        prepared = self._prepared
        if prepared is None or self._is_outdated(prepared):
            with self._lock:
                prepared = self._prepared
                if prepared is None or self._is_outdated(prepared):
                    _check_version()
                    prepared = self._prepared = _Prepared(self.connection)
        return prepared

    def _is_outdated(self, prepared: _Prepared) -> bool:
        connection = self.connection
        return prepared.generation != connection.generation or prepared.session is not connection.current_session()

    def _make(self, prepared: _Prepared, seconds: float) -> S3Store:
        global _runtime_pid  # noqa: PLW0603 (the runtime is one for the process)
        _runtime_pid = os.getpid()
        with self._lock:
            if seconds not in prepared.stores:
                options = _client_options(self.connection, seconds, prepared.session)
                prepared.stores[seconds] = S3Store(client_options=options, **prepared.options)
            return prepared.stores[seconds]

    def must_check_redirects(self, *, reading: bool) -> bool:
        """Return whether `refuse_redirects` has to be called first."""
        settings = self.connection.settings
        if settings.endpoint_url is None or settings.bucket_url in _checked_urls:
            return False
        return not reading or not self._checked_for_reads

    def refuse_redirects(self, *, reading: bool) -> None:
        """Check, once in a process, that a custom endpoint does not redirect: obstore would follow it.

        The target could report success for a write that it has not made. A read has to be checked only where a session
        token or another secret header would be sent along: obstore removes no header but Authorization.

        Raises:
            InvalidError: The endpoint redirects.
        """
        is_needed = not reading or self.connection.arguments.headers or _has_token(self.connection)
        self._checked_for_reads = True
        if not is_needed:
            return
        try:
            response = self.clock.check()
        except UnavailableError:
            # The request that follows reports it.
            return
        except Error:
            response = None
        if response is not None and response[0] in (301, 302, 303, 307, 308):
            raise redirect_error(self.connection, response[0], response[1].get("Location"))
        _checked_urls.add(self.connection.settings.bucket_url)

    def follow_region(self, generation: int) -> bool:
        """Use the region that the bucket reports, if it is another one. Return whether that has changed anything."""
        if self.connection.generation != generation:
            return True
        response = self.clock.check()
        region = None if response is None else response[1].get("x-amz-bucket-region")
        if region is None or region == self.connection.settings.region:
            return False
        if not re.fullmatch(r"[a-z0-9-]{3,40}", region) or self.connection.settings.endpoint_url is not None:
            # The redirect, whose handler calls this, says less.
            raise redirect_error(self.connection, 301, None, region) from None
        changed = self.connection.renew(generation, region)
        self._clock = None
        return changed

    def _signed_url(self) -> str:
        """Return the signed URL of an object that need not exist: any response has a Date."""
        path = "s3dict-clock"
        try:
            return obstore.sign(self.store(), "HEAD", path, timedelta(minutes=1))
        except Exception as error:
            where = self.connection.settings.where
            translate_obstore_exception(error, S3Request("head_object", self.bucket, path, {}, endpoint=where))
            raise


def _has_token(connection: Connection) -> bool:
    static = connection.settings.credentials
    return bool(static.token if static is not None else connection.boto_credentials().get_frozen_credentials().token)


def _store_options(connection: Connection, session: SessionCredentials | None) -> dict[str, Any]:
    settings, arguments = connection.settings, connection.arguments
    endpoint = settings.bucket_url
    if not settings.virtual_hosted:
        endpoint = endpoint.removesuffix(f"/{arguments.bucket}")
    options: dict[str, Any] = {
        "bucket": arguments.bucket,
        "region": settings.region,
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": settings.virtual_hosted,
        **credential_options(connection, session),
        # Only the caller knows whether a request may be retried.
        "retry_config": {"max_retries": 0},
        # As boto3 does, whatever obstore's own variables contain.
        "conditional_put": "etag",
        "skip_signature": False,
        "unsigned_payload": False,
        "request_payer": arguments.request_payer,
        # The sessions of directory buckets are not obstore's: see `shared.create_session`.
        "s3_express": False,
        # obstore sends Content-MD5 with DeleteObjects, which a directory bucket may reject.
        "disable_bulk_delete": connection.zone is not None,
    }
    if not (settings.checksums_configured and settings.checksums == "when_required"):
        # Without one, SeaweedFS stores an empty object if the sender dies between the headers and the body. SHA256 is
        # computed for the signature anyway.
        options["checksum_algorithm"] = "SHA256"
    if arguments.sse is not None:
        options["server_side_encryption"] = arguments.sse
    if arguments.kms_key_id is not None:
        options["sse_kms_key_id"] = arguments.kms_key_id
    if arguments.bucket_key:
        options["sse_bucket_key_enabled"] = True
    return options


def _client_options(connection: Connection, seconds: float, session: SessionCredentials | None) -> ClientConfig:
    settings = connection.settings
    headers = connection.arguments.common_headers()
    if session is not None:
        # obstore signs its default headers too.
        headers["x-amz-s3session-token"] = session.token
    options: ClientConfig = {
        # The URL decides, as with boto3.
        "allow_http": True,
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
        "read_timeout": timedelta(seconds=seconds),
        # This one is for the whole response: its default of 30 seconds would end large values on slow links.
        "timeout": timedelta(days=365),
        # A request over a connection that the server has just closed fails, and then the outcome of a conditional write
        # is unknown. A process that was suspended, as by Lambda, resumes with such connections.
        "pool_idle_timeout": timedelta(seconds=IDLE_SECONDS),
        "user_agent": f"s3dict obstore/{obstore.__version__}" + (f" app/{settings.app_id}" if settings.app_id else ""),
        "default_headers": headers,
        **_proxy_options(settings),
    }
    if not settings.trust.verify:
        options["allow_invalid_certificates"] = True
    certificates = settings.trust.certificates()
    if certificates is not None:
        options["root_certificate"] = certificates
    return options


def _proxy_options(settings: ConnectionSettings) -> ClientConfig:
    """Return the proxy of the settings. Without these options, obstore would read the environment by other rules."""
    if settings.proxy is not None:
        return {"proxy_url": settings.proxy, "proxy_excludes": ""}
    host = settings.bucket_url.partition("://")[2].partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    # "*" excludes all names, but no addresses.
    return {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": f"*,{host}"}


def read_timeout(size: int, timeout: float) -> float:
    """Return the read timeout, in seconds, for a request with a body of `size` bytes.

    obstore's read timeout starts with the request, so it includes the time to send the body, and it is fixed for a
    store. So there is one store for small bodies, and one for each power of two of megabytes that is used.
    """
    if size <= MEGABYTE:
        return timeout
    return timeout + SECONDS_PER_MEGABYTE * (1 << (size // MEGABYTE).bit_length())


def _check_version() -> None:
    release = getattr(obstore, "__version__", "0")
    if tuple(int(number) for number in re.findall(r"\d+", release)[:2]) < MIN_VERSION:
        raise InvalidError(f"obstore {release} is too old: pip install -U obstore, or set the driver to 'boto3'")
