"""What stands before every request: the Host, the Origin and the token. A local port is guarded as a public one.

A web page can make a browser send requests to this machine. What it cannot do is to name us: its own host name stands
in `Host` (DNS rebinding) or in `Origin` (cross-site requests), and both are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.serve.caller import Caller, note
from backends.serve.replies import Refusal, refuse

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
        arrived = time.perf_counter()
        headers = Headers(scope=scope)
        try:
            self._check_origin(headers)
            self._admit(scope, headers, arrived)
        except Refusal as refusal:
            extra = [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else []
            await refuse(send, refusal, extra)
        else:
            await self._app(scope, receive, send)

    def _check_origin(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_ours(host_name(host)):
            raise Refusal(403, "this server does not answer to the name in the Host header")
        if not self._same_origin(headers.get("origin"), host):
            raise Refusal(403, "requests from other web pages are refused (Origin)")

    def _admit(self, scope: Scope, headers: Headers, arrived: float) -> None:
        authorization = headers.get("authorization", "")
        if scope["path"] not in _OPEN_PATHS and not self._has_token(authorization):
            raise Refusal(401, "this server wants a token: Authorization: Bearer …")
        owner = hashlib.sha256(authorization.encode()).digest()
        took = None if self._token is None else (time.perf_counter() - arrived) * 1000
        note(scope, Caller(arrived, owner, auth_ms=took))

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
