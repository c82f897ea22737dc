"""A server of Anthropic's Messages API, as far as streaming goes, on a real socket.

Wire form: docs.anthropic.com, "Streaming messages" (the order of events, `ping`, `error`), "List models", "Errors";
the official `anthropic` Python package reads it. It answers with the words of the last message, one delta a word;
"forever" stops after the first word until the client has gone. `NEWER` refuses what models refuse since Claude 4.6 and
Opus 4.7, in the API's words ("Migration guide"; quoted in cloudflare/agents#1618 and NousResearch/hermes-agent#11137).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.http_server import Request, Script, Server, Step, event_stream, http_server, response
from tests.fakes.openai_server import echoed
from tests.fakes.scripted import Hold

MODEL = "fake-claude"
NEWER = "newer-claude"


@asynccontextmanager
async def anthropic_server(key: str = "") -> AsyncIterator[Server]:
    """A server with one model; with a `key` it refuses requests that do not bring it."""

    def answer(request: Request) -> Script:
        brought = (request.headers.get("x-api-key"), request.headers.get("authorization"))
        if key and brought not in ((key, None), (None, f"Bearer {key}")):
            return [response(401, body=error("authentication_error", "invalid x-api-key"))]
        if "anthropic-version" not in request.headers:
            return [response(400, body=error("invalid_request_error", "anthropic-version: header is required"))]
        path = request.path.partition("?")[0]
        if (request.method, path) == ("GET", "/v1/models"):
            return [response(body=models())]
        if (request.method, path) == ("POST", "/v1/messages"):
            body = json.loads(request.body)
            if refusal := _refusal(body):
                return [response(400, body=error("invalid_request_error", refusal))]
            return message(body)
        return [response(404, body=error("not_found_error", "no such path"))]

    async with http_server(answer) as server:
        yield server


def _refusal(body: dict[str, Any]) -> str:
    """Why `NEWER` does not answer `body`; "": it does."""
    if body["model"] != NEWER:
        return ""
    if body.get("thinking", {}).get("type") == "enabled":
        return (
            '"thinking.type.enabled" is not supported for this model. '
            'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        )
    if body["messages"][-1]["role"] == "assistant":
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    return ""


def message(body: dict[str, Any]) -> Script:
    """The echo of the last message, as events."""
    words, endless = echoed(body["messages"][-1]["content"][-1]["text"])
    steps: list[Step] = [
        start(input_tokens=len(words), output_tokens=1),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("ping"),
        *(text(word) for word in words),
    ]
    if endless:
        return event_stream(*steps[:4], Hold())
    return event_stream(*steps, event("content_block_stop", index=0), stop(output_tokens=len(words)), end())


def event(kind: str, **fields: Any) -> bytes:
    """One event; its name stands in the data too."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(**usage: int) -> bytes:
    """``message_start``."""
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return event("message_start", message=whole)


def text(piece: str, kind: str = "text") -> bytes:
    """A ``content_block_delta`` of `kind` text, thinking or signature."""
    return event("content_block_delta", index=0, delta={"type": f"{kind}_delta", kind: piece})


def stop(reason: str = "end_turn", **usage: int) -> bytes:
    """``message_delta``, which says how the answer ended."""
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)


def end() -> bytes:
    """``message_stop``."""
    return event("message_stop")


def error(kind: str, words: str) -> bytes:
    """An error's body, which is an ``error`` event's data too."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": words}}).encode()


def models() -> bytes:
    """The answer to GET /v1/models."""
    model = {"type": "model", "id": MODEL, "display_name": "Fake", "created_at": "2025-02-19T00:00:00Z"}
    old = model | {"id": "old", "lifecycle": "retired"}
    listed = [model | {"lifecycle": "active"}, old]
    return json.dumps({"data": listed, "has_more": False, "first_id": MODEL, "last_id": "old"}).encode()
