"""Verification of AWS signatures (version 4)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from .s3_responses import RefusedError

__all__ = ["Signed", "check_signature", "parse_authorization"]

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
_MAX_SKEW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Signed:
    """The content of an Authorization header."""

    access_key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str


def parse_authorization(header: str | None) -> Signed:
    match = _AUTHORIZATION.fullmatch(header or "")
    if match is None:
        raise RefusedError(403, "AccessDenied", "Access Denied")
    access_key, date, region, service, names, signature = match.groups()
    return Signed(access_key, date, region, service, tuple(names.split(";")), signature)


def check_signature(
    signed: Signed, secret: str, method: str, target: str, headers: Mapping[str, str], body: bytes, now: float
) -> None:
    """Raise unless the request was signed with the secret, recently, and with all of its own headers x-amz-*."""
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed.headers]
    if unsigned or "host" not in signed.headers:
        raise RefusedError(403, "AccessDenied", f"There were headers present which were not signed: {unsigned}")
    sent_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(sent_at - datetime.fromtimestamp(now, UTC)) > _MAX_SKEW:
        raise RefusedError(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large")
    digest = headers["x-amz-content-sha256"]
    if re.fullmatch("[0-9a-f]{64}", digest) and digest != hashlib.sha256(body).hexdigest():
        raise RefusedError(400, "XAmzContentSHA256Mismatch", "The provided header does not match what was computed")
    if not hmac.compare_digest(_signature(signed, secret, method, target, headers), signed.signature):
        raise RefusedError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")


def _signature(signed: Signed, secret: str, method: str, target: str, headers: Mapping[str, str]) -> str:
    path, _, query = target.partition("?")
    pairs = sorted(item.partition("=")[::2] for item in query.split("&") if item)
    canonical = [
        method,
        _encoded(path, "/"),
        "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.headers),
        "",
        ";".join(signed.headers),
        headers["x-amz-content-sha256"],
    ]
    scope = f"{signed.date}/{signed.region}/{signed.service}/aws4_request"
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), "\n".join(("AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed))):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _encoded(text: str, safe: str = "") -> str:
    return quote(unquote(text), safe=f"-_.~{safe}")
