"""Ollama's own API, as far as chatting goes, on a real socket.

Wire form: docs.ollama.com/api (chat, tags, version: lines of JSON, durations in nanoseconds); the official `ollama`
Python package reads it. It answers with the words of the last message, one line a word; "forever" stops after the
first word until the client has gone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.http_server import Request, Script, Server, Step, event_stream, http_server, response
from tests.fakes.openai_server import echoed
from tests.fakes.scripted import Hold

MODEL = "fake:latest"
LINES = "application/x-ndjson"


@asynccontextmanager
async def ollama_server() -> AsyncIterator[Server]:
    """A server with one model."""

    def answer(request: Request) -> Script:
        if (request.method, request.path) == ("GET", "/api/version"):
            return [response(body=b'{"version":"0.12.0"}')]
        if (request.method, request.path) == ("GET", "/api/tags"):
            return [response(body=tags())]
        if (request.method, request.path) == ("POST", "/api/chat"):
            return chat(json.loads(request.body))
        return [response(404, "text/plain", b"404 page not found")]

    async with http_server(answer) as server:
        yield server


def chat(body: dict[str, Any]) -> Script:
    """The echo of the last message, as lines."""
    words, endless = echoed(body["messages"][-1]["content"])
    steps: list[Step] = [line(word) for word in words]
    if endless:
        return event_stream(steps[0], Hold(), content_type=LINES)
    return event_stream(*steps, last(eval_count=len(words), prompt_eval_count=len(words)), content_type=LINES)


def line(content: str, **more: Any) -> bytes:
    """One line; `more` goes into its message."""
    message = {"role": "assistant", "content": content, **more}
    return _line(message=message, done=False)


def last(reason: str = "stop", **more: Any) -> bytes:
    """The line that ends the answer."""
    return _line(message={"role": "assistant", "content": ""}, done=True, done_reason=reason, **more)


def _line(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, "created_at": "2026-01-01T00:00:00.000000Z", **fields}).encode() + b"\n"


def tags() -> bytes:
    """The answer to GET /api/tags."""
    details = {"format": "gguf", "family": "llama", "parameter_size": "1B", "quantization_level": "Q4_0"}
    model = {"name": MODEL, "model": MODEL, "size": 1, "digest": "0" * 64, "details": details}
    return json.dumps({"models": [model | {"modified_at": "2026-01-01T00:00:00Z"}]}).encode()
