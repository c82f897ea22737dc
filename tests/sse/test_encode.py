"""Frames as they go out."""

from __future__ import annotations

from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder

from backends import events
from backends.events import Token
from backends.sse.encode import PING, frame


def decode(data: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for line in data.decode().split("\n")[:-1] if (event := decoder.decode(line)) is not None]


def test_a_frame() -> None:
    assert frame(Token("The"), 5) == b'event: token\nid: 5\ndata: {"text":"The"}\n\n'


def test_text_with_line_breaks_stays_one_event() -> None:
    token = Token("a\n\ndata: b\r\n\u2028: c")

    (event,) = decode(frame(token, 1))

    assert (event.event, event.id) == ("token", "1")
    assert events.decode(event.event, event.data) == token


def test_a_ping_is_no_event() -> None:
    assert decode(PING) == []
