"""The connection as botocore resolves it: arguments, environment, profile and its services section, session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..._record import replace
from ...errors import InvalidError
from ..shared.connection import (
    ConnectionArguments,
    ConnectionSettings,
    check_settings,
    default_checksums,
    default_region,
)
from ..shared.proxies import configured_proxy, proxy_for
from ..shared.trust import resolve_trust
from ..shared.validation import is_ip_address

if TYPE_CHECKING:
    import boto3

_CHECKSUM_MODES = ("when_supported", "when_required")


def resolve_with_botocore(arguments: ConnectionArguments, session: boto3.Session) -> ConnectionSettings:
    """Return the connection settings.

    Raises:
        InvalidError: A setting is invalid.
    """
    from botocore.exceptions import BotoCoreError

    from ..shared.redaction import redacted

    try:
        return _resolve(arguments, session)
    except (BotoCoreError, ValueError) as error:
        if isinstance(error, InvalidError):
            raise
        raise InvalidError(f"The configuration of boto3 is invalid: {redacted(str(error))}") from None


def _resolve(arguments: ConnectionArguments, session: boto3.Session) -> ConnectionSettings:
    core: Any = session._session
    _subsection(core.get_scoped_config(), f"the {_profile_name(core)}")
    endpoint, source = _endpoint(arguments, core)
    region = arguments.region_name or session.region_name or os.environ.get("AWS_REGION")
    region = region or default_region(endpoint, arguments.bucket)
    endpoint = check_settings(endpoint, source, region, arguments.bucket)
    s3 = dict(core.get_config_variable("s3") or {})
    style = arguments.addressing_style or s3.get("addressing_style") or ("path" if endpoint else "auto")
    configured = arguments.checksums or core.get_config_variable("request_checksum_calculation")
    is_default = arguments.checksums is None and not _is_configured(core, "request_checksum_calculation")
    checksums = default_checksums(endpoint, arguments.bucket) if is_default else str(configured).lower()
    if checksums not in _CHECKSUM_MODES:
        raise InvalidError(
            f"Invalid request_checksum_calculation: {checksums!r}. It is one of {', '.join(_CHECKSUM_MODES)}"
        )
    draft = ConnectionSettings(
        bucket_url="",
        virtual_hosted=False,
        endpoint_url=endpoint,
        source=source if endpoint else "AWS",
        region=region,
        addressing_style=style,
        checksums=checksums,
        checksums_configured=not is_default,
        trust=resolve_trust(arguments.verify, os.environ, core.get_config_variable("ca_bundle")),
        proxy=None,
        use_fips=bool(core.get_config_variable("use_fips_endpoint")),
        use_dualstack=bool(core.get_config_variable("use_dualstack_endpoint")),
        use_accelerate=_flag(s3.get("use_accelerate_endpoint")),
        us_east_1_regional=str(s3.get("us_east_1_regional_endpoint") or "regional"),
        app_id=core.get_config_variable("user_agent_appid"),
        client_cert=getattr(core.get_default_client_config(), "client_cert", None),
    )
    return _with_bucket_url(draft, arguments.bucket, core)


def _endpoint(arguments: ConnectionArguments, core: Any) -> tuple[str | None, str]:
    """Return the custom endpoint, if any, and where it was configured."""
    if arguments.endpoint_url is not None:
        return arguments.endpoint_url, arguments.endpoint_source
    if core.get_config_variable("ignore_configured_endpoint_urls"):
        return None, ""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if os.environ.get(name):
            return os.environ[name], name
    profile, where = core.get_scoped_config(), _profile_name(core)
    name = profile.get("services")
    sections = core.full_config.get("services", {})
    if name is not None and name not in sections:
        raise InvalidError(f"The {where} refers to [services {name}], which does not exist")
    section = _subsection(sections.get(name, {}), f"services {name} of the {where}")
    if section.get("endpoint_url"):
        return section["endpoint_url"], f"services {name} of the {where}"
    if profile.get("endpoint_url"):
        return profile["endpoint_url"], f"endpoint_url of the {where}"
    return None, ""


def _profile_name(core: Any) -> str:
    """Return the name of the profile and of its file, for error messages."""
    file = os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config"
    return f"profile {core.get_config_variable('profile') or 'default'} in {file}"


def _subsection(section: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the settings of S3 in a section of the configuration file, which are indented lines below ``s3 =``."""
    found: Any = section.get("s3", {})
    if not isinstance(found, dict):
        raise InvalidError(f"s3 in {where} is not followed by indented lines, such as endpoint_url = ...")
    return found


def _with_bucket_url(draft: ConnectionSettings, bucket: str, core: Any) -> ConnectionSettings:
    """Add what botocore's endpoint rules say: the URL of the bucket, and the region to sign for."""
    from botocore.config import Config

    from .session import speed_up

    client = _bare_session(core, speed_up).create_client(
        "s3",
        endpoint_url=draft.endpoint_url,
        region_name=draft.region,
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106 (nothing is sent)
        config=Config(**endpoint_config(draft)),
    )
    url, region = _addressed(client, bucket)
    parts = urlsplit(url)
    base_path = urlsplit(draft.endpoint_url).path.rstrip("/") if draft.endpoint_url else ""
    path = parts.path.rstrip("/")
    if bucket.startswith("arn:") and draft.endpoint_url and is_ip_address(urlsplit(draft.endpoint_url).netloc):
        raise InvalidError(f"An access point's ARN needs an endpoint with a host name, unlike {draft.where}")
    bucket_url = f"{parts.scheme}://{parts.netloc}{path}"
    proxies = getattr(core.get_default_client_config(), "proxies", None)
    return replace(
        draft,
        bucket_url=bucket_url,
        virtual_hosted=path == base_path,
        region=region,
        proxy=proxy_for(bucket_url, os.environ) if proxies is None else configured_proxy(bucket_url, proxies),
    )


class _NotSentError(Exception):
    """Ends a request before it is sent."""


def _addressed(client: Any, bucket: str) -> tuple[str, str]:
    """Return the URL of the bucket, and the region in the signature, of a request that is not sent."""
    prepared: list[Any] = []

    def keep(request: Any, **_: Any) -> None:
        prepared.append(request)
        raise _NotSentError

    # For a directory bucket, it is the request that opens a session.
    client.meta.events.register("before-send.s3", keep)
    try:
        client.head_bucket(Bucket=bucket)
    except _NotSentError:
        pass
    finally:
        client.close()
    authorization = prepared[0].headers["Authorization"]
    text = authorization.decode() if isinstance(authorization, bytes) else authorization
    return prepared[0].url, text.partition("Credential=")[2].split("/")[2]


def _bare_session(core: Any, speed_up: Any) -> Any:
    """Return a session with the data path of `core`, without its event handlers, credentials and configuration."""
    from botocore.session import Session

    session = Session()
    session.set_config_variable("data_path", core.get_config_variable("data_path"))
    session.set_config_variable("profile", core.get_config_variable("profile"))
    speed_up(session)
    return session


def endpoint_config(settings: ConnectionSettings) -> dict[str, Any]:
    """Return the arguments of botocore's Config that decide which endpoint is used, so that nothing else does."""
    s3: dict[str, Any] = {"addressing_style": settings.addressing_style}
    if settings.endpoint_url is None:
        s3["use_accelerate_endpoint"] = settings.use_accelerate
        s3["us_east_1_regional_endpoint"] = settings.us_east_1_regional
    custom = settings.endpoint_url is not None
    return {
        "s3": s3,
        "ignore_configured_endpoint_urls": True,
        "use_fips_endpoint": settings.use_fips and not custom,
        "use_dualstack_endpoint": settings.use_dualstack and not custom,
    }


def _is_configured(core: Any, name: str) -> bool:
    variable = f"AWS_{name.upper()}"
    return bool(os.environ.get(variable)) or name in core.get_scoped_config()


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
