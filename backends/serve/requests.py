"""Reading a request: JSON only, bounded in size and time, checked, and refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope

from backends.backend import ChatRequest
from backends.errors import Code

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request's body that are taken."""

_BODY_SECONDS = 30.0
_DECODER = msgspec.json.Decoder(ChatRequest)


class Refusal(Exception):
    """A request that is answered with an HTTP error: `status`, `code` and `message`."""

    def __init__(self, status: int, message: str, code: Code = Code.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_chat(
    headers: Mapping[str, str], receive: Receive, limit: int = MAX_BODY, *, hint: bool = False
) -> ChatRequest:
    """The ChatRequest in the body; a `hint` may come before there is any message. Raises Refusal or Disconnected."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body must be application/json, not {kind or 'of an unnamed type'}")
    body = await _read(headers, receive, limit)
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"not a chat request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"not valid JSON: {error}") from None
    if not request.messages and not hint:
        raise Refusal(400, "not a chat request: `messages` is empty")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise Refusal(400, f"not a chat request: `max_tokens` is {request.max_tokens}, at least 1 is needed")
    return request


def last_event_id(scope: Scope) -> int:
    """The number of the last event that the client has: `Last-Event-ID`, or ``?after=``; 0 without. Raises Refusal."""
    text = Headers(scope=scope).get("last-event-id") or QueryParams(scope["query_string"]).get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refusal(400, "Last-Event-ID (or ?after=) must be the id of an event of this stream")
    return int(text)


async def _read(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    too_large = Refusal(413, f"the body is larger than {limit:,} bytes")
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                body += message.get("body", b"")
                if len(body) > limit:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {_BODY_SECONDS:g} s") from None
