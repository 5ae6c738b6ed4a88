"""How a client reaches its bucket: the arguments, and the frozen settings that all its stores are built from.

botocore's rules decide. Where there is no configuration file and the environment holds static credentials, `_from_env`
applies them without importing it, which takes most of a second; anything else is resolved by botocore itself (see
`boto.resolver`). Both return the same `ConnectionSettings`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

from ..._record import Record, field, replace
from ..._retry import DEFAULT_POLICIES, RetryPolicies
from ...errors import Error, InvalidError, PermissionDeniedError
from .proxies import address_of, proxy_for
from .rate_control import RateController
from .trust import Trust, resolve_trust
from .validation import check_credential, check_region, is_ip_address, normalise_endpoint, zone_of

if TYPE_CHECKING:
    import boto3

    from ..boto.credentials import BotoCredentials
    from .events import RequestObserver
    from .sessions import SessionCredentials, Sessions


DEFAULT_REGION = "us-east-1"
MAX_RENEWALS = 2
"""How often credentials that are not accepted are replaced for one request.

A request that waited for a thread may be signed with a session that another request has opened, so that the first
replacement may be of a session that it did not use.
"""
_PLAIN_REGION = re.compile(r"(?!us-gov|us-iso|eu-iso)(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]")
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_FAST_VARIABLES = frozenset(
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_DEFAULT_REGION"}
    | {"AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE"}
    | {"AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_EXECUTION_ENV", "AWS_XRAY_DAEMON_ADDRESS"}
)
_IGNORED_PREFIXES = ("AWS_LAMBDA_", "AWS_XRAY_", "AWS_EC2_METADATA", "AWS_METADATA_")


class ConnectionArguments(Record):
    """What a client was given. None leaves a setting to the environment and configuration files.

    Args:
        bucket: The bucket's name, or the ARN or alias of an access point.
        endpoint_url: The URL of a store other than AWS.
        endpoint_source: Where `endpoint_url` was configured, for error messages.
        region_name: The region to sign for.
        session: The boto3 session whose credentials and profile are used.
        addressing_style: ``"path"``, ``"virtual"`` or ``"auto"``.
        verify: False disables the verification of certificates; a path names a bundle of certificates to trust.
        checksums: ``"when_supported"`` or ``"when_required"``, as botocore's ``request_checksum_calculation``.
        sse: The server-side encryption of new objects: ``"AES256"``, ``"aws:kms"`` or ``"aws:kms:dsse"``.
        kms_key_id: The KMS key of new objects.
        bucket_key: Whether new objects use the bucket's KMS key (S3 Bucket Keys).
        headers: Further headers of every request; their values may be secret.
        request_payer: Whether the requester pays.
        expected_bucket_owner: The id of the account that must own the bucket.
        concurrency: The number of connections, and of threads for blocking calls.
        timeout: Seconds that a request waits without receiving anything.
        retries: The limits of retries.
        rates: The rate controller, which all stores of a client in one process share.
        observer: What each request is reported to; None for nothing.
    """

    bucket: str
    endpoint_url: str | None = None
    endpoint_source: str = "Client(endpoint_url=...)"
    region_name: str | None = None
    session: boto3.Session | None = field(default=None, repr=False)
    addressing_style: str | None = None
    verify: bool | str | None = None
    checksums: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    bucket_key: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    request_payer: bool = False
    expected_bucket_owner: str | None = None
    concurrency: int = 64
    timeout: float = 60.0
    retries: RetryPolicies = DEFAULT_POLICIES
    rates: RateController = field(default_factory=RateController, repr=False)
    observer: RequestObserver | None = field(default=None, repr=False)

    def common_headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        headers = dict(self.headers)
        if self.request_payer:
            headers["x-amz-request-payer"] = "requester"
        if self.expected_bucket_owner is not None:
            headers["x-amz-expected-bucket-owner"] = self.expected_bucket_owner
        return headers

    def with_encryption_of_environment(self, environment: Mapping[str, str]) -> ConnectionArguments:
        """Return the arguments with the encryption in obstore's own variables, so that all drivers send the same.

        Raises:
            InvalidError: The variables demand what copies cannot do, or contradict the arguments.
        """
        if environment.get("AWS_SSE_CUSTOMER_KEY_BASE64"):
            raise InvalidError("AWS_SSE_CUSTOMER_KEY_BASE64 is set, but keys of customers (SSE-C) are not supported")
        sse = self.sse or environment.get("AWS_SERVER_SIDE_ENCRYPTION") or None
        key = self.kms_key_id or environment.get("AWS_SSE_KMS_KEY_ID") or None
        if (sse or key) and zone_of(self.bucket) is not None:
            raise InvalidError(
                f"The directory bucket {self.bucket!r} encrypts new objects by its own default alone: set that, and "
                "unset AWS_SERVER_SIDE_ENCRYPTION and AWS_SSE_KMS_KEY_ID"
            )
        if key is not None and sse not in ("aws:kms", "aws:kms:dsse"):
            raise InvalidError("AWS_SSE_KMS_KEY_ID is set without AWS_SERVER_SIDE_ENCRYPTION=aws:kms or S3DICT_SSE")
        bucket_key = environment.get("AWS_SSE_BUCKET_KEY_ENABLED", "").lower() == "true"
        return replace(self, sse=sse, kms_key_id=key, bucket_key=bucket_key)

    def write_headers(self) -> dict[str, str]:
        """Return the further headers of requests that create an object: PUT and COPY."""
        headers = {}
        if self.sse is not None:
            headers["x-amz-server-side-encryption"] = self.sse
        if self.kms_key_id is not None:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.kms_key_id
        if self.bucket_key:
            headers["x-amz-server-side-encryption-bucket-key-enabled"] = "true"
        return headers


class Credentials(Record):
    """Static credentials."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class ConnectionSettings(Record):
    """Everything that decides where a request goes, how it is signed, and whom it trusts.

    Args:
        bucket_url: The bucket's URL: with its name in the host if `virtual_hosted`, otherwise in the path.
        virtual_hosted: Whether the host name contains the bucket.
        endpoint_url: The URL of a store other than AWS; None for AWS.
        source: Where the endpoint was configured.
        region: The region to sign for.
        addressing_style: botocore's setting.
        use_fips, use_dualstack, use_accelerate, us_east_1_regional: botocore's settings of AWS endpoints.
        checksums: ``"when_supported"`` or ``"when_required"``.
        trust: The certificates to trust.
        proxy: The proxy's URL, which may contain a password; None for a direct connection.
        credentials: Static credentials from the environment; None if botocore provides them.
        app_id: What botocore adds to the user agent (``AWS_SDK_UA_APP_ID``).
        client_cert: The file of the certificate that the client presents, or the files of certificate and key.
    """

    bucket_url: str
    virtual_hosted: bool
    endpoint_url: str | None
    source: str
    region: str
    addressing_style: str
    checksums: str
    checksums_configured: bool
    trust: Trust
    proxy: str | None = field(repr=False)
    credentials: Credentials | None = None
    use_fips: bool = False
    use_dualstack: bool = False
    use_accelerate: bool = False
    us_east_1_regional: str = "regional"
    app_id: str | None = None
    client_cert: str | tuple[str, str] | None = None

    @property
    def where(self) -> str:
        """The endpoint, where it was configured, and the proxy without its password, for error messages."""
        url = self.endpoint_url or self.bucket_url
        where = f"{url} ({self.source})"
        return where if self.proxy is None else f"{where} through the proxy {address_of(self.proxy)}"

    @property
    def uses_tls(self) -> bool:
        """Whether the connection to the endpoint or to the proxy is encrypted."""
        return uses_tls(self.bucket_url, self.proxy)


def uses_tls(url: str, proxy: str | None) -> bool:
    """Return whether requests to `url` need certificates, on the connection to the proxy too."""
    return any(address.startswith("https:") for address in (url, proxy or ""))


class _Resolution:
    """What has been resolved, which all views of a connection share."""

    def __init__(self, session: boto3.Session | None) -> None:
        self.lock = threading.RLock()
        self.generation = 0
        self.settings: ConnectionSettings | None = None
        self.sessions: Sessions | None = None
        self.session = session
        self.credentials: BotoCredentials | None = None
        self.region: str | None = None


class Connection:
    """The connection of one client in one process, resolved when it is first needed.

    Threads and event loops share it. Credentials that the store does not accept any more are resolved again by `renew`;
    a store compares `generation` with that of its own clients.

    Args:
        arguments: What the client was given.
        rates: The rate controller, which all stores of a client in one process share.
        observer: What each request is reported to; None for nothing.
    """

    def __init__(
        self,
        arguments: ConnectionArguments,
        rates: RateController | None = None,
        observer: RequestObserver | None = None,
    ) -> None:
        self.arguments = arguments.with_encryption_of_environment(os.environ)
        self.bucket = arguments.bucket
        self.zone = zone_of(arguments.bucket)
        """The zone of a directory bucket; None for other buckets."""
        self.concurrency = arguments.concurrency
        self.timeout = arguments.timeout
        self.retries = arguments.retries
        self.rates = rates or RateController()
        self.observer = observer
        self._resolution = _Resolution(arguments.session)

    def with_timeout(self, timeout: float) -> Connection:
        """Return a view of this connection with another timeout."""
        view = copy(self)
        view.timeout = timeout
        return view

    @property
    def generation(self) -> int:
        return self._resolution.generation

    @property
    def settings(self) -> ConnectionSettings:
        settings = self._resolution.settings
        return settings if settings is not None else self._resolve()

    @property
    def where(self) -> str:
        """The endpoint and where it was configured, for error messages; empty before it is resolved."""
        settings = self._resolution.settings
        return "" if settings is None else settings.where

    @property
    def sessions(self) -> Sessions:
        """The sessions of a directory bucket."""
        resolution = self._resolution
        with resolution.lock:
            if resolution.sessions is None:
                from .create_session import create_session
                from .sessions import Sessions

                resolution.sessions = Sessions(lambda timeout: create_session(self, timeout))
            return resolution.sessions

    def session_credentials(self) -> SessionCredentials:
        """Return the session of a directory bucket. May send a request; raises `Error` if there is none."""
        return self.sessions.get(self.timeout)

    def must_open_session(self) -> bool:
        """Return whether `session_credentials` has to be called before a request."""
        return self.zone is not None and self.sessions.needs_renewal()

    def current_session(self) -> SessionCredentials | None:
        """Return the session of a directory bucket without a request, if there is one."""
        return None if self.zone is None else self.sessions.current()

    @property
    def session_number(self) -> int | None:
        """The number of the session of a directory bucket that a request made now is signed with."""
        return None if self.zone is None else self.sessions.number

    def boto_session(self) -> boto3.Session:
        """Return the session that clients of boto3 are made from. It resolves credentials once for all stores."""
        resolution = self._resolution
        with resolution.lock:
            if resolution.session is None:
                from ..boto.session import new_session

                credentials = resolution.settings.credentials if resolution.settings is not None else None
                resolution.session = new_session(credentials)
            return resolution.session

    def make_boto_client(self, config: Any, client_arguments: dict[str, Any]) -> Any:
        """Return a new client. Threads must not share a session while it makes clients; they can share the clients.

        Raises:
            PermissionDeniedError: There are no credentials.
        """
        with self._resolution.lock:
            credentials = self.boto_credentials()
            # Making a client looks for them too, and its errors would be botocore's.
            credentials.get_frozen_credentials()
            # A copy without the default Config of a program's session, of which the settings contain what applies.
            core: Any = copy(self.boto_session()._session)
            core._client_config = None
            client = core.create_client("s3", config=config, **client_arguments)
            client._request_signer._credentials = credentials
            return client

    def boto_credentials(self) -> BotoCredentials:
        """Return the credentials that botocore finds, which all stores share."""
        resolution = self._resolution
        with resolution.lock:
            _ = self.settings
            if resolution.credentials is None:
                from ..boto.credentials import BotoCredentials

                resolution.credentials = BotoCredentials(self.boto_session(), resolution.lock)
            return resolution.credentials

    def renew_after_denial(self, generation: int, session: int | None) -> bool:
        """Replace credentials that the store does not accept. Return whether there are others now.

        Args:
            generation: That of the connection when the request was made.
            session: The `session_number` then. Another caller may have replaced that session since, even before the
                request was signed; what it was signed with is unknown then, and the current one is worth an attempt.
        """
        if session is not None:
            self.sessions.discard(session)
            try:
                self.session_credentials()
                return True
            except PermissionDeniedError as error:
                if error.action is not None:
                    raise
        return self.renew(generation)

    def renew(self, generation: int, region: str | None = None) -> bool:
        """Resolve credentials again, or use another region. Return whether anything has changed since `generation`."""
        resolution = self._resolution
        with resolution.lock:
            if generation != resolution.generation:
                return True
            before = self.settings.region, self._last_credentials()
            if region is not None:
                resolution.region = region
            self._forget_credentials()
            resolution.settings = None
            if (self.settings.region, self._current_credentials()) == before:
                return False
            resolution.generation += 1
            return True

    def _resolve(self) -> ConnectionSettings:
        resolution = self._resolution
        with resolution.lock:
            if resolution.settings is None:
                arguments = self.arguments
                if resolution.region is not None:
                    arguments = replace(arguments, region_name=resolution.region)
                settings = _from_env(arguments, os.environ)
                if settings is None:
                    from ..boto.resolver import resolve_with_botocore

                    settings = resolve_with_botocore(arguments, self.boto_session())
                resolution.settings = settings
            return resolution.settings

    def _last_credentials(self) -> object:
        """Return the credentials that were last used, or why there were none."""
        static, found = self.settings.credentials, self._resolution.credentials
        return static if static is not None or found is None else found.last_outcome

    def _current_credentials(self) -> object:
        if self.settings.credentials is not None:
            return self.settings.credentials
        credentials = self.boto_credentials()
        with suppress(Error):
            credentials.get_frozen_credentials()
        return credentials.last_outcome

    def _forget_credentials(self) -> None:
        self._resolution.credentials = None
        if self.arguments.session is None:
            self._resolution.session = None
            return
        from ..boto.credentials import renew_in_session

        renew_in_session(self.arguments.session)


def _from_env(arguments: ConnectionArguments, environment: Mapping[str, str]) -> ConnectionSettings | None:
    """Resolve without botocore; None if it could find something that is not in the environment."""
    credentials = _static_credentials(environment)
    if arguments.session is not None or credentials is None or arguments.bucket.startswith("arn:"):
        return None
    unknown = (name for name in environment if name.startswith("AWS_") and name not in _FAST_VARIABLES)
    if any(not name.startswith(_IGNORED_PREFIXES) for name in unknown) or _has_config_file(environment):
        return None
    region = arguments.region_name or environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    endpoint, source = arguments.endpoint_url, arguments.endpoint_source
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint is None and environment.get(name):
            endpoint, source = environment[name], name
    region = region or default_region(endpoint, arguments.bucket)
    if endpoint is None and (not _PLAIN_REGION.fullmatch(region) or not _HOST_LABEL.fullmatch(arguments.bucket)):
        return None
    endpoint = check_settings(endpoint, source, region, arguments.bucket)
    style = arguments.addressing_style or ("path" if endpoint else "auto")
    bucket_url, virtual = _bucket_url(endpoint, region, arguments.bucket, style)
    checksums = arguments.checksums or default_checksums(endpoint, arguments.bucket)
    return ConnectionSettings(
        bucket_url=bucket_url,
        virtual_hosted=virtual,
        endpoint_url=endpoint,
        source=source if endpoint else "AWS",
        region=region,
        addressing_style=style,
        checksums=checksums,
        checksums_configured=arguments.checksums is not None,
        trust=resolve_trust(arguments.verify, environment, None),
        proxy=proxy_for(bucket_url, environment),
        credentials=credentials,
    )


def default_region(endpoint: str | None, bucket: str) -> str:
    """Return the region where none is configured. Raises InvalidError where it must be, for a directory bucket."""
    zone = zone_of(bucket)
    if zone is None or endpoint:
        return DEFAULT_REGION
    raise InvalidError(
        f"The bucket {bucket!r} is a directory bucket in the zone {zone}, which is part of one region: set "
        "S3DICT_REGION, AWS_DEFAULT_REGION or Client(region_name=...) to that region"
    )


def default_checksums(endpoint: str | None, bucket: str) -> str:
    """Return which checksums are sent where that is not configured: a directory bucket knows no other than AWS does."""
    return "when_required" if endpoint and zone_of(bucket) is None else "when_supported"


def check_settings(endpoint: str | None, source: str, region: str, bucket: str) -> str | None:
    """Return the endpoint as it is used; None for AWS.

    Raises:
        InvalidError: The endpoint or the region cannot work; it names where the endpoint was configured.
    """
    check_region(region)
    if not endpoint:
        return None
    url = normalise_endpoint(endpoint, source)
    if zone_of(bucket) is not None and url.count("/") > 2:
        raise InvalidError(f"The endpoint of {source} has a path, which directory buckets cannot be below: remove it")
    if url.rpartition("/")[2] == bucket and url.count("/") > 2:
        raise InvalidError(
            f"The endpoint of {source} ends with the bucket's name: leave out /{bucket}, which is appended to it"
        )
    return url


def _static_credentials(environment: Mapping[str, str]) -> Credentials | None:
    """Return the credentials in the environment, which boto3 prefers to others; None if they expire or are absent."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret or environment.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    token = environment.get("AWS_SECURITY_TOKEN") or environment.get("AWS_SESSION_TOKEN") or None
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"):
        check_credential(name, environment.get(name, ""))
    return Credentials(key, secret, token)


def _has_config_file(environment: Mapping[str, str]) -> bool:
    config = environment.get("AWS_CONFIG_FILE") or "~/.aws/config"
    shared = environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    paths = (os.path.expanduser(os.path.expandvars(path)) for path in (config, shared))
    return any(os.path.isfile(path) and os.path.getsize(path) for path in paths)


def _bucket_url(endpoint: str | None, region: str, bucket: str, style: str) -> tuple[str, bool]:
    zone = zone_of(bucket)
    service = "s3" if zone is None else f"s3express-{zone}"
    scheme, _, host = (endpoint or f"https://{service}.{region}.amazonaws.com").partition("://")
    if zone is None:
        virtual = (style == "virtual" and not is_ip_address(host)) or (endpoint is None and style == "auto")
    else:
        # As in botocore, whatever the style: an address cannot have the bucket's name before it.
        virtual = not is_ip_address(host)
    return (f"{scheme}://{bucket}.{host}", True) if virtual else (f"{scheme}://{host}/{bucket}", False)
