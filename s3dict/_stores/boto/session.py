"""How sessions and clients of botocore and aiobotocore are set up."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ..shared.messages import parse_http_date
from ..shared.timeouts import CONNECT_SECONDS


def client_config(*, custom_endpoint: bool, concurrency: int, timeout: float) -> dict[str, Any]:
    """Return the arguments of botocore's Config.

    AWS gets botocore's defaults; many other servers do not support virtual hosts and checksums. botocore retries
    nothing: it would repeat what must not be repeated, and hide how often it did.
    """
    config: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": concurrency,
        "connect_timeout": min(CONNECT_SECONDS, timeout),
        "read_timeout": timeout,
        "parameter_validation": False,
        "user_agent_extra": "s3dict",
    }
    if custom_endpoint:
        config["s3"] = {"addressing_style": "path"}
        config["request_checksum_calculation"] = "when_required"
        config["response_checksum_validation"] = "when_required"
    return config


def signing_region(configured: str | None, session: Any, *, custom_endpoint: bool) -> str | None:
    """Return the region to sign for. A custom endpoint seldom checks it, but a signature names one."""
    region: str | None = configured or session.region_name
    return region or ((os.environ.get("AWS_REGION") or "us-east-1") if custom_endpoint else None)


def prepare_client(client: Any) -> None:
    """Change a client so that a PUT carries its body at once.

    botocore otherwise asks the server first (Expect: 100-continue) and waits.
    """
    from botocore.handlers import add_expect_header

    client.meta.events.unregister("before-call.s3", add_expect_header)


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
