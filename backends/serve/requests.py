"""Reading a request: JSON only, bounded in size and time, checked, and refused in words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope

from backends.backend import ChatRequest
from backends.serve.replies import Refusal

T = TypeVar("T")

_BODY_SECONDS = 30.0
_DECODER = msgspec.json.Decoder(ChatRequest)


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_chat(headers: Mapping[str, str], receive: Receive, limit: int, *, hint: bool = False) -> ChatRequest:
    """The ChatRequest in the body; a `hint` may come before there is any message. Raises Refusal or Disconnected."""
    request = await read_json(headers, receive, limit, _DECODER, "a chat request")
    if not request.messages and not hint:
        raise Refusal(400, "not a chat request: `messages` is empty")
    if request.max_tokens is not None and request.max_tokens < 1:
        raise Refusal(400, f"not a chat request: `max_tokens` is {request.max_tokens}, at least 1 is needed")
    return request


async def read_json(
    headers: Mapping[str, str], receive: Receive, limit: int, decoder: msgspec.json.Decoder[T], what: str
) -> T:
    """The body as what `decoder` makes of it; `what` that is, in words. Raises Refusal or Disconnected."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body must be application/json, not {kind or 'of an unnamed type'}")
    body = await _read(headers, receive, limit)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"not {what}: {error}", param=_field(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"not valid JSON: {error}") from None


def _field(message: str) -> str | None:
    """The field that a message of msgspec points at: ``messages[0].role``."""
    found = re.search(r"`\$\.([^`]*)`", message) or re.search(r"field `([^`]*)`", message)
    return found[1] if found else None


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
