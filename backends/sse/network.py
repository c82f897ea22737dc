"""How a server is reached: through which proxy, trusting whom, and who we say we are. Light; opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from backends.errors import ConfigError

DIRECT = "direct"
"""Instead of a proxy's URL: none, whatever the environment says."""

_SCHEMES = ("http", "https", "socks5", "socks5h")


class Network(msgspec.Struct, frozen=True):
    """`proxy`: a URL, `DIRECT`, or "" for what the environment says. `ca_file` has certificates to trust besides the
    usual ones. `client_cert` (with its `client_key`, if that is not in the same file) is shown to the server."""

    proxy: str = ""
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


class Proxy(msgspec.Struct, frozen=True):
    """A proxy: `url` without user and password, which stand apart."""

    url: str
    user: str = ""
    password: str = ""

    @property
    def is_socks(self) -> bool:
        """SOCKS5 (RFC 1928) instead of HTTP."""
        return self.url.startswith("socks")

    @property
    def auth(self) -> tuple[str, str] | None:
        """User and password, where there are any."""
        return (self.user, self.password) if self.user or self.password else None


def parse_proxy(text: str, origin: str) -> Proxy:
    """The proxy at the URL `text`, which `origin` named. Raises ConfigError, which never repeats a password."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ConfigError(f"{origin} is not a valid URL") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"{origin} is no proxy; write http://host:port, https://host:port or socks5://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return Proxy(url, unquote(parts.username or ""), unquote(parts.password or ""))


def read_network(
    name: str,
    path: Callable[[str], Path],
    proxy: str = "",
    ca_file: str = "",
    client_cert: str = "",
    client_key: str = "",
) -> Network:
    """What backend `name` says, checked as far as that needs no connection. Raises ConfigError.

    `path` resolves a path of the configuration.
    """
    if proxy and proxy != DIRECT:
        configured = parse_proxy(proxy, f"backend '{name}': proxy")
        if configured.auth:
            message = "proxy must not carry a user or password; put that URL into the variable HTTPS_PROXY instead"
            raise ConfigError(f"backend '{name}': {message}")
        if configured.is_socks:
            require_socks(f"backend '{name}': proxy")
    if client_key and not client_cert:
        raise ConfigError(f"backend '{name}': client_key belongs to a client_cert, which is not set")
    files = {"ca_file": ca_file, "client_cert": client_cert, "client_key": client_key}
    paths = {option: path(text) if text else None for option, text in files.items()}
    for option, place in paths.items():
        if place is not None and not place.is_file():
            raise ConfigError(f"backend '{name}': {option}: there is no file {place}")
    return Network(proxy, **paths)


def require_socks(origin: str) -> None:
    """Raise ConfigError unless what httpx needs for SOCKS is installed."""
    from importlib.util import find_spec

    if find_spec("socksio") is None:
        raise ConfigError(f"{origin} is a SOCKS proxy, for which a package is missing: pip install 'llmchat[socks]'")
