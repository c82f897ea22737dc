"""Plain JSON answers of the service, on bare ASGI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.types import Send

Header = tuple[bytes, bytes]


async def reply(send: Send, status: int, value: Any, headers: Iterable[Header] = ()) -> None:
    """`value` as JSON; None as an empty body."""
    body = b"" if value is None else msgspec.json.encode(value)
    all_headers = [(b"cache-control", b"no-store"), *headers]
    if body:
        all_headers.append((b"content-type", b"application/json"))
    if status != 204:
        all_headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, code: str, message: str, headers: Iterable[Header] = ()) -> None:
    """An error before any stream began: ``{"error": {"code": …, "message": …}}``."""
    await reply(send, status, {"error": {"code": str(code), "message": message}}, headers)
