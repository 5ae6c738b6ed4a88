"""Requests without a driver, for what no driver can send."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .connection import uses_tls
from .trust import Trust

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from ssl import SSLContext
    from urllib.request import Request


def opener(url: str, trust: Trust, proxy: str | None, timeout: float) -> Callable[[Request], HTTPResponse]:
    """Return a function that opens requests to the server of `url`, and returns a response of any status.

    It follows no redirect.
    """
    from ssl import PROTOCOL_TLS_CLIENT, SSLContext
    from urllib.request import HTTPErrorProcessor, HTTPSHandler, ProxyHandler, build_opener

    class AcceptAnyStatus(HTTPErrorProcessor):
        def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 (its name)
            return response

        https_response = http_response

    context = _tls_context(trust) if uses_tls(url, proxy) else SSLContext(PROTOCOL_TLS_CLIENT)
    proxies = {} if proxy is None else {"http": proxy, "https": proxy}
    director = build_opener(AcceptAnyStatus, HTTPSHandler(context=context), ProxyHandler(proxies))
    return lambda request: director.open(request, timeout=timeout)


def _tls_context(trust: Trust) -> SSLContext:
    """Return a context that trusts these certificates. Loading them takes 20 ms."""
    from ssl import CERT_NONE, create_default_context

    context = create_default_context(cafile=trust.bundle)
    if not trust.verify:
        context.check_hostname, context.verify_mode = False, CERT_NONE
    return context
