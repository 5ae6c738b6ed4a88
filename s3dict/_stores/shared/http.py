"""Requests without a driver, for what no driver can send."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .trust import Trust

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.request import Request


def opener(trust: Trust, proxy: str | None, timeout: float) -> Callable[[Request], HTTPResponse]:
    """Return a function that opens requests, and returns a response of any status: it follows no redirect."""
    from ssl import CERT_NONE, create_default_context
    from urllib.request import HTTPErrorProcessor, HTTPSHandler, ProxyHandler, build_opener

    class AcceptAnyStatus(HTTPErrorProcessor):
        def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 (its name)
            return response

        https_response = http_response

    context = create_default_context(cafile=trust.bundle)
    if not trust.verify:
        context.check_hostname, context.verify_mode = False, CERT_NONE
    proxies = {} if proxy is None else {"http": proxy, "https": proxy}
    director = build_opener(AcceptAnyStatus, HTTPSHandler(context=context), ProxyHandler(proxies))
    return lambda request: director.open(request, timeout=timeout)
