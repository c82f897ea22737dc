"""A server of OpenAI's Responses API, as far as streaming goes, on a real socket.

Wire form: platform.openai.com/docs/api-reference/responses-streaming; the official `openai` Python package reads it.
It answers with the words of the last message, one delta a word; "forever" stops after the first word until the client
has gone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.http_server import Request, Script, Server, Step, event_stream, http_server, response
from tests.fakes.openai_server import MODEL, echoed, error, models
from tests.fakes.scripted import Hold

_ITEM = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


@asynccontextmanager
async def responses_server() -> AsyncIterator[Server]:
    """A server with one model."""

    def answer(request: Request) -> Script:
        if (request.method, request.path) == ("GET", "/v1/models"):
            return [response(body=models("fake"))]
        if (request.method, request.path) == ("POST", "/v1/responses"):
            return respond(json.loads(request.body))
        return [response(404, body=error("no such path", "not_found_error"))]

    async with http_server(answer) as server:
        yield server


def respond(body: dict[str, Any]) -> Script:
    """The echo of the last message, as events."""
    words, endless = echoed(body["input"][-1]["content"])
    part = {"type": "output_text", "text": "", "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    steps: list[Step] = [
        event("response.created", response=whole("in_progress")),
        event("response.in_progress", response=whole("in_progress")),
        event("response.output_item.added", output_index=0, item=item),
        event("response.content_part.added", **_ITEM, part=part),
        *(text(word) for word in words),
    ]
    if endless:
        return event_stream(*steps[:5], Hold())
    said = "".join(words)
    done = item | {"status": "completed", "content": [part | {"text": said}]}
    usage = counts(len(words), len(words))
    return event_stream(
        *steps,
        event("response.output_text.done", **_ITEM, text=said, logprobs=[]),
        event("response.output_item.done", output_index=0, item=done),
        event("response.completed", response=whole("completed", usage=usage, output=[done])),
    )


def event(kind: str, **fields: Any) -> bytes:
    """One event; its name stands in the data too."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, **fields})}\n\n".encode()


def text(piece: str, kind: str = "output_text") -> bytes:
    """A piece of `kind`."""
    return event(f"response.{kind}.delta", **_ITEM, delta=piece, logprobs=[])


def whole(status: str, **more: Any) -> dict[str, Any]:
    """The response object."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": MODEL,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        **more,
    }


def counts(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """`usage`."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
