"""What stands before every request: the Host, the Origin and the key. A local port is guarded as a public one.

A web page can make a browser send requests to this machine. What it cannot do is to name us: its own host name stands
in `Host` (DNS rebinding) or in `Origin` (cross-site requests), and both are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.serve.caller import Caller, note
from backends.serve.keys import KeyRing
from backends.serve.replies import Refusal, refuse

_OPEN_PATHS = frozenset({"/healthz"})


class Access(msgspec.Struct, frozen=True):
    """Who may use the service: who brings `token`, or one of `keys`; everybody where there is neither.

    `hosts`: names that this server is reached by, beside localhost and IP addresses. `origins`: pages elsewhere that
    may use it. The limits are for keys that have none of their own.
    """

    token: str | None = None
    keys: KeyRing | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    requests_per_minute: int = 0
    concurrency: int = 0

    def admit(self, authorization: str, arrived: float) -> Caller | None:
        """The caller who brings this header, or None."""
        if self.token is None and self.keys is None:
            return Caller(arrived, _owner(authorization))
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        secret = secret.strip()
        owner = _owner(secret)
        if self.token is not None and hmac.compare_digest(secret.encode(), self.token.encode()):
            return Caller(arrived, owner, auth_ms=_ms_since(arrived))
        key = self.keys.find(secret) if self.keys is not None else None
        if key is None:
            return None
        per_minute = key.requests_per_minute or self.requests_per_minute
        concurrency = key.concurrency or self.concurrency
        return Caller(arrived, owner, key.id, per_minute, concurrency, _ms_since(arrived))


class Guard:
    """ASGI middleware: 403 for a foreign Host or Origin, 401 without a key (`/healthz` needs none).

    `access` tells who may use the service at the time.
    """

    def __init__(self, app: ASGIApp, *, access: Callable[[], Access], on_refusal: Callable[[Refusal], None]) -> None:
        self._app = app
        self._access = access
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived = time.perf_counter()
        headers = Headers(scope=scope)
        access = self._access()
        try:
            _check_origin(access, headers)
            _admit(access, scope, headers, arrived)
        except Refusal as refusal:
            self._on_refusal(refusal)
            extra = [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else []
            await refuse(send, refusal, extra)
        else:
            await self._app(scope, receive, send)


def _check_origin(access: Access, headers: Headers) -> None:
    host = headers.get("host", "")
    if not _is_ours(access, host_name(host)):
        raise Refusal(403, "this server does not answer to the name in the Host header")
    origin = headers.get("origin")
    if origin not in access.origins and not _same_origin(origin, host):
        raise Refusal(403, "requests from other web pages are refused (Origin)")


def _admit(access: Access, scope: Scope, headers: Headers, arrived: float) -> None:
    caller = access.admit(headers.get("authorization", ""), arrived)
    if caller is None and scope["path"] in _OPEN_PATHS:
        caller = Caller(arrived, b"")
    if caller is None:
        raise Refusal(401, "this server wants a key: Authorization: Bearer …")
    note(scope, msgspec.structs.replace(caller, traceparent=headers.get("traceparent", "")))


def _is_ours(access: Access, name: str) -> bool:
    if any(name == host.lower() for host in ("localhost", *access.hosts)):
        return True
    try:
        ipaddress.ip_address(name)  # an address cannot be rebound to another machine
    except ValueError:
        return False
    return True


def _same_origin(origin: str | None, host: str) -> bool:
    return origin is None or urlsplit(origin).netloc.lower() == host.lower() != ""


def host_name(host: str) -> str:
    """The name in a Host header: without the port, without the brackets of an IPv6 address, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _owner(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _ms_since(arrived: float) -> float:
    return (time.perf_counter() - arrived) * 1000
