"""How sessions and clients of botocore and aiobotocore are set up."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING, Any

from ...errors import InvalidError
from ..shared.connection import Connection, Credentials
from ..shared.errors import redirect_error
from ..shared.messages import parse_http_date, unexpected_response
from ..shared.timeouts import CONNECT_SECONDS
from .resolver import endpoint_config

if TYPE_CHECKING:
    import boto3

_REDIRECTS = (301, 302, 303, 307, 308)
_DELETION_RESPONSES = {
    "DeleteObject": re.compile(rb"\s*\Z"),
    "DeleteObjects": re.compile(rb"\s*(?:\xef\xbb\xbf)?(?:<\?[^>]*>\s*)?<(?:[\w.-]+:)?\w*DeleteResult[\s/>]"),
}
"""What the bodies of successful responses begin with."""


def new_session(credentials: Credentials | None) -> boto3.Session:
    """Return a session with these credentials, or with those that botocore finds.

    Raises:
        InvalidError: The configuration cannot be used: it names a profile that does not exist, for example.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        if credentials is None:
            session = boto3.Session()
        else:
            session = boto3.Session(credentials.access_key, credentials.secret_key, credentials.token)
    except BotoCoreError as error:
        raise InvalidError(f"The AWS configuration cannot be used: {error}") from error
    speed_up(session._session)
    return session


def client_arguments(connection: Connection) -> dict[str, Any]:
    """Return the arguments with which a session makes a client, except its Config."""
    settings = connection.settings
    return {
        "endpoint_url": settings.endpoint_url,
        "region_name": settings.region,
        "verify": settings.trust.botocore_verify,
    }


def client_config(connection: Connection) -> dict[str, Any]:
    """Return the arguments of botocore's Config.

    All that the settings decide is given explicitly, so that botocore reads nothing else. It retries nothing: it would
    repeat what must not be repeated, and hide how often it did.
    """
    settings = connection.settings
    scheme = settings.bucket_url.partition("://")[0]
    return {
        **endpoint_config(settings),
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": connection.arguments.concurrency,
        "connect_timeout": min(CONNECT_SECONDS, connection.timeout),
        "read_timeout": connection.timeout,
        "parameter_validation": False,
        "user_agent_extra": "s3dict",
        "client_cert": settings.client_cert,
        "proxies": {scheme: settings.proxy} if settings.proxy else {},
        "request_checksum_calculation": settings.checksums,
        # On a custom endpoint a checksum in a response may be one that botocore cannot check.
        "response_checksum_validation": settings.checksums,
    }


def prepare_client(client: Any, connection: Connection) -> None:
    """Change what a client sends: headers of the settings, one checksum, no Expect; and never follow a redirect.

    With Expect: 100-continue botocore asks the server first, and waits, before it sends the body of a PUT.
    """
    from botocore.handlers import add_expect_header

    events = client.meta.events
    events.unregister("before-call.s3", add_expect_header)
    events.register("before-call.s3", _header_adder(connection))
    if connection.settings.checksums == "when_required" and connection.zone is None:
        for operation in ("PutObject", "DeleteObjects"):
            events.register(f"before-call.s3.{operation}", _replace_checksum_by_md5)
    events.register_first("needs-retry.s3", _redirect_refuser(connection))
    for operation, pattern in _DELETION_RESPONSES.items():
        events.register(f"before-parse.s3.{operation}", _body_checker(pattern, connection))


def trust_system_store(context: Any, connection: Connection) -> Any:
    """Let an SSL context trust the system's certificates too, as obstore does, unless a bundle is configured.

    Without TLS it does nothing: loading the certificates is half of what a client costs to make.
    """
    settings = connection.settings
    if settings.trust.botocore_verify is True and settings.uses_tls:
        context.load_default_certs()
    return context


def _header_adder(connection: Connection) -> Callable[..., None]:
    common, write = connection.arguments.common_headers(), connection.arguments.write_headers()
    owner = connection.arguments.expected_bucket_owner

    def add_headers(model: Any, params: Any, **_: Any) -> None:
        params["headers"].update(common)
        if connection.zone is not None and "UseS3ExpressControlEndpoint" in _context_parameters(model):
            # The Regional endpoint of directory buckets rejects it.
            params["headers"].pop("x-amz-expected-bucket-owner", None)
        if model.name in ("PutObject", "CopyObject"):
            params["headers"].update(write)
        if model.name == "CopyObject" and owner is not None:
            params["headers"]["x-amz-source-expected-bucket-owner"] = owner

    return add_headers


def _context_parameters(model: Any) -> set[str]:
    return {parameter.name for parameter in model.static_context_parameters}


def use_identity_cache(client: Any, cache: Any) -> None:
    """Let requests to a directory bucket be signed with the session of `cache`, and not with one of botocore."""

    def replace_cache(request: Any, **_: Any) -> None:
        signing = request.context.get("signing", {})
        if signing.get("identity_cache") is not None:
            signing["identity_cache"] = cache

    client.meta.events.register_last("before-sign.s3", replace_cache)


class IdentityCache:
    """What botocore asks for the session of a directory bucket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_credentials(self, bucket: str) -> Any:  # noqa: ARG002 (its signature)
        from botocore.credentials import Credentials

        session = self._connection.session_credentials()
        return Credentials(session.access_key, session.secret_key, session.token)


def _replace_checksum_by_md5(params: Any, **_: Any) -> None:
    """Send Content-MD5, which every S3 server knows, instead of the CRC32 of botocore.

    Without a digest, SeaweedFS stores an empty object if the sender dies between the headers and the body.
    """
    if "Content-MD5" in params["headers"] or "x-amz-checksum-sha256" in params["headers"]:
        return
    params.get("context", {}).pop("checksum", None)
    body = params["body"]
    # botocore has put the bytes into a BytesIO, whose `getbuffer` would copy them, unless they are sent in chunks.
    content = body.getvalue() if hasattr(body, "getvalue") else getattr(body, "whole", body)
    digest = md5(content, usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


def _redirect_refuser(connection: Connection) -> Callable[..., None]:
    """Return a handler that raises for every redirect, except to the bucket's region on AWS, which botocore follows."""

    def refuse_redirect(response: Any, **_: Any) -> None:
        if response is None or response[0] is None or response[0].status_code not in _REDIRECTS:
            return
        headers = response[0].headers
        region = headers.get("x-amz-bucket-region")
        if "location" not in headers and region and connection.settings.endpoint_url is None:
            return
        raise redirect_error(connection, response[0].status_code, headers.get("location"), region)

    return refuse_redirect


def _body_checker(pattern: re.Pattern[bytes], connection: Connection) -> Callable[..., None]:
    """Return a handler that raises for a successful response with another body.

    botocore takes any, such as the page of a proxy, for a deletion without failures.
    """

    def check_body(response_dict: Any, **_: Any) -> None:
        status, body = response_dict["status_code"], response_dict["body"]
        if status < 300 and not pattern.match(body):
            raise unexpected_response(f"with status {status} and another body than S3's", connection.settings.where)

    return check_body


def speed_up(session: Any) -> None:
    """Make a botocore session of our own faster, in two ways that it has hooks for.

    All sessions of this process share its model of S3: reading it is nine tenths of what a client costs to make (80
    ms), and each event loop needs a client of its own. And times are read by `parse_time`: they are two thirds of what
    a page of a listing costs.
    """
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)


def parse_time(value: Any) -> datetime:
    """Return the time in one of the forms that S3 uses; any other form is left to botocore's slow parser."""
    try:
        if value.endswith("GMT"):
            return parse_http_date(value)
        time = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if time.tzinfo is not None:
            return time
    except (ValueError, TypeError, AttributeError):
        pass
    from botocore.utils import parse_timestamp

    parsed: datetime = parse_timestamp(value)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


@lru_cache(maxsize=4)
def _loader(data_path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(data_path)
