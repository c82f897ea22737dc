"""Where a server is: an http(s) URL or the path of a Unix socket. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from backends.errors import ConfigError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Address(msgspec.Struct, frozen=True):
    """`url` without a slash at its end; `uds` is the path of the Unix socket behind it, if there is one."""

    url: str
    uds: str | None = None

    @property
    def shown(self) -> str:
        """What a message calls the server."""
        return self.uds if self.uds is not None else self.url

    @property
    def loopback(self) -> bool:
        """True when the server is on this machine, so that no proxy stands between."""
        return self.uds is not None or urlsplit(self.url).hostname in _LOOPBACK


def api_address(url: str, root: str, *endpoints: str) -> Address:
    """Where an API's paths begin. `root` (``/v1``) is put behind a bare host; another path is kept.

    `endpoints` are the API's own paths: ``http://host/v1/chat/completions`` means ``http://host/v1``. Raises
    ConfigError.
    """
    address = parse_address(url)
    base = address.url
    for endpoint in endpoints:
        base = base.removesuffix(endpoint)
    return Address(base if urlsplit(base).path else base + root, address.uds)


def parse_address(text: str) -> Address:
    """The address that a person wrote: ``http://host:port/path``, ``https://…`` or ``unix:/path``.

    Raises ConfigError, which never repeats a password that stood in the URL.
    """
    text = text.strip()
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = "/" + path.lstrip("/") if path.startswith("//") else path
        if not path:
            raise ConfigError("url = 'unix:' names no socket; write unix:/path/to/socket")
        return Address("http://localhost", path)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"url is not a valid URL: {error}") from None
    if "@" in parts.netloc:
        raise ConfigError("url must not carry a user or password; name the key with api_key_env or api_key_file")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"url = '{text}' is no server; write http://host:port, https://host or unix:/path")
    if port == 0 or parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in text):
        raise ConfigError(f"url = '{text}' is no server's address: port 0, '?', '#' and spaces have no place in it")
    return Address(text.rstrip("/"))
