"""Plain JSON answers of the service, on bare ASGI."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.types import Send

from backends.errors import Code
from backends.events import Error

Header = tuple[bytes, bytes]

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_STATUSES: dict[str, int] = {
    Code.BAD_REQUEST: 400,
    Code.CONTEXT_FULL: 400,
    Code.NOT_FOUND: 404,
    Code.OVERLOADED: 503,
    Code.SHUTDOWN: 503,
    Code.MODEL_LOAD: 503,
    Code.CONFIG: 500,
    Code.ENGINE_MISSING: 500,
    Code.INTERNAL: 500,
    Code.TIMEOUT_CONNECT: 504,
    Code.TIMEOUT_FIRST_TOKEN: 504,
    Code.TIMEOUT_IDLE: 504,
    Code.TIMEOUT_STAGE: 504,
    Code.TIMEOUT_TOTAL: 504,
}
_PASSED_ON = {f"HTTP_{status}": status for status in (400, 404, 413, 422, 429)}
"""The upstream's HTTP errors that concern our client too; others (its key, its defects) are between it and us."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong: `code` is one of `backends.errors.Code`; `type` and `param` are as OpenAI's API has them."""

    code: str
    message: str
    type: str
    param: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every HTTP error of the service."""

    error: ErrorDetail


class Refusal(Exception):
    """A request that is answered with an HTTP error. `retry_after`: in seconds; `param`: the field that is wrong."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str = Code.BAD_REQUEST,
        *,
        retry_after: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = str(code)
        self.message = message
        self.retry_after = retry_after
        self.param = param


def refusal_of(error: Error) -> Refusal:
    """The HTTP error for a stream that failed before it had said anything."""
    status = _STATUSES.get(error.code) or _PASSED_ON.get(error.code, 502)
    return Refusal(status, error.message, error.code, retry_after=error.retry_after)


def error_detail(refusal: Refusal) -> ErrorDetail:
    """The error object of `refusal`."""
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    if refusal.code == Code.CONTEXT_FULL:
        kind = "exceed_context_size_error"  # llama-server's word, which clients look for
    return ErrorDetail(refusal.code, refusal.message, kind, refusal.param)


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


async def refuse(send: Send, refusal: Refusal, headers: Iterable[Header] = ()) -> None:
    """An error before any stream began: ``{"error": {"code": …, "message": …, "type": …, "param": …}}``."""
    all_headers = [*headers]
    if refusal.retry_after is not None:  # whole seconds (RFC 9110, 10.2.3)
        all_headers.append((b"retry-after", b"%d" % max(1, math.ceil(refusal.retry_after))))
    await reply(send, refusal.status, ErrorBody(error_detail(refusal)), all_headers)
