"""Which proxy, if any, leads to an endpoint: one decision for all drivers.

The variables are those that botocore reads: HTTP_PROXY and HTTPS_PROXY, and NO_PROXY with every form of exclusion that
botocore, curl, Go or reqwest accept: names, suffixes with or without a dot or ``*.``, ports, addresses, networks and
``*``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ...errors import InvalidError


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for requests to `url`; None for a direct connection.

    Raises:
        InvalidError: The variable of the proxy does not contain the URL of one.
    """
    scheme, _, rest = url.partition("://")
    proxy = _system_proxy(scheme) if sys.platform in ("darwin", "win32") else _env(environment, f"{scheme}_proxy")
    proxy = (proxy or "").strip()
    if not proxy or (scheme == "http" and "REQUEST_METHOD" in environment and "http_proxy" not in environment):
        # In a CGI program, HTTP_PROXY is the header "Proxy" of the request (httpoxy).
        return None
    host, port = _host_and_port(rest.partition("/")[0], scheme)
    excluded = _env(environment, "no_proxy") or ""
    if any(_matches(item.lower(), host, port) for item in excluded.replace(",", " ").split()):
        return None
    return _checked(proxy if "://" in proxy else f"http://{proxy}", f"{scheme.upper()}_PROXY")


def configured_proxy(url: str, proxies: Mapping[str, str]) -> str | None:
    """Return the proxy for requests to `url` that the default `Config` of a session contains, as in botocore.

    Raises:
        InvalidError: It does not contain the URL of one.
    """
    proxy = proxies.get(url.partition("://")[0])
    if not proxy:
        return None
    return _checked(proxy if "://" in proxy else f"http://{proxy}", "proxies in the Config of the session")


def address_of(proxy: str) -> str:
    """Return the URL of the proxy without user and password."""
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('/')[0]}"


def proxy_headers(proxy: str) -> dict[str, str]:
    """Return the header that authenticates to the proxy, also where its user has no password.

    urllib and botocore send none then, as they should for a token in place of a user.
    """
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode()}"}


def _checked(proxy: str, source: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(proxy)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    if not is_valid:
        # Without the URL, which may contain a password.
        raise InvalidError(f"Invalid {source}: it is the URL of a proxy, which begins with http:// or https://")
    # boto3 takes a scheme in upper case for a host name.
    scheme, separator, rest = proxy.partition("://")
    return f"{scheme.lower()}{separator}{rest}"


def _env(environment: Mapping[str, str], name: str) -> str | None:
    lower = environment.get(name)
    return lower if lower is not None else environment.get(name.upper())


def _system_proxy(scheme: str) -> str | None:
    from urllib.request import getproxies

    return getproxies().get(scheme)


def _host_and_port(authority: str, scheme: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    return host.lower().rstrip("."), port or ("443" if scheme == "https" else "80")


def _matches(item: str, host: str, port: str) -> bool:
    if item == "*":
        return True
    if item.startswith("["):
        name, _, wanted_port = item[1:].partition("]")
        return wanted_port in ("", f":{port}") and _in_network(name, host)
    if "/" in item or ":" in item.partition(":")[2]:
        return _in_network(item, host)
    name, _, wanted_port = item.partition(":")
    if wanted_port and wanted_port != port:
        return False
    suffix = name.removeprefix("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _in_network(item: str, host: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(item, strict=False)
    except ValueError:
        return False
