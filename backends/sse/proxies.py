"""Which proxy stands between this machine and a server: the configured one, or what the environment says."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from backends.errors import ConfigError
from backends.sse.address import Address
from backends.sse.network import DIRECT, Proxy, parse_proxy, require_socks


def proxy_for(address: Address, configured: str = "") -> Proxy | None:
    """The proxy to reach `address` by. Without a `configured` one that of the environment (``HTTPS_PROXY``,
    ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, in either case), which is never asked for this machine's own servers.

    Raises ConfigError for what is no proxy.
    """
    if configured == DIRECT:
        return None
    if configured:
        if address.uds is not None:
            raise ConfigError(f"{address.shown}: there is no way through a proxy to a Unix socket")
        return parse_proxy(configured, "proxy")
    parts = urlsplit(address.url)
    if address.loopback or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    scheme = next((scheme for scheme in (parts.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None:
        return None
    origin = f"the environment variable {scheme.upper()}_PROXY"
    found = parse_proxy(proxies[scheme], origin)
    if found.is_socks:
        require_socks(origin)
    return found
