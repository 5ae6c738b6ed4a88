"""Which proxy, if any, leads to an endpoint: one decision for all drivers.

The variables are those that botocore reads: HTTP_PROXY and HTTPS_PROXY, and NO_PROXY with every form of exclusion that
botocore, curl, Go or reqwest accept: names, suffixes with or without a dot or ``*.``, ports, addresses, networks and
``*``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for requests to `url`; None for a direct connection."""
    scheme, _, rest = url.partition("://")
    proxy = _system_proxy(scheme) if sys.platform in ("darwin", "win32") else _env(environment, f"{scheme}_proxy")
    if not proxy or (scheme == "http" and "REQUEST_METHOD" in environment and "http_proxy" not in environment):
        # In a CGI program, HTTP_PROXY is the header "Proxy" of the request (httpoxy).
        return None
    host, port = _host_and_port(rest.partition("/")[0], scheme)
    excluded = _env(environment, "no_proxy") or ""
    if any(_matches(item.strip().lower(), host, port) for item in excluded.replace(" ", ",").split(",")):
        return None
    proxy = proxy.strip()
    return proxy if "://" in proxy else f"http://{proxy}"


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
    if not item:
        return False
    if item == "*":
        return True
    if "/" in item or ":" in item.partition(":")[2] or item.startswith("["):
        return _in_network(item.strip("[]"), host)
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
