"""What stands before every request: the Host, the Origin and the token. A local port is guarded as a public one.

A web page can make a browser send requests to this machine. What it cannot do is to name us: its own host name stands
in `Host` (DNS rebinding) or in `Origin` (cross-site requests), and both are refused.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.errors import Code
from backends.serve.replies import refuse

_OPEN_PATHS = frozenset({"/healthz"})


class Guard:
    """ASGI middleware: 403 for a foreign Host or Origin, 401 without the token (`/healthz` needs none)."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] = frozenset(), token: str | None = None) -> None:
        """`hosts`: names that this server is reached by, beside localhost and IP addresses."""
        self._app = app
        self._hosts = {"localhost", *(host.lower() for host in hosts)}
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host_name(host)):
            await refuse(send, 403, Code.BAD_REQUEST, "this server does not answer to the name in the Host header")
        elif not self._same_origin(headers.get("origin"), host):
            await refuse(send, 403, Code.BAD_REQUEST, "requests from other web pages are refused (Origin)")
        elif scope["path"] not in _OPEN_PATHS and not self._has_token(headers.get("authorization", "")):
            extra = [(b"www-authenticate", b"Bearer")]
            await refuse(send, 401, Code.BAD_REQUEST, "this server wants a token: Authorization: Bearer …", extra)
        else:
            await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)  # an address cannot be rebound to another machine
        except ValueError:
            return False
        return True

    def _same_origin(self, origin: str | None, host: str) -> bool:
        return origin is None or urlsplit(origin).netloc.lower() == host.lower() != ""

    def _has_token(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)


def host_name(host: str) -> str:
    """The name in a Host header: without the port, without the brackets of an IPv6 address, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
