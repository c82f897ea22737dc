"""A server of the OpenAI chat completions API, as far as streaming goes, on a real socket.

Wire form: platform.openai.com/docs/api-reference/chat-streaming (chunks, `stream_options.include_usage`, ``[DONE]``);
llama.cpp tools/server/README.md (`timings`, `prompt_progress`, ``owned_by: llamacpp``); docs.vllm.ai,
"OpenAI-Compatible Server" (``owned_by: vllm``, `continue_final_message`).

It answers with the words of the last message, one chunk a word; "forever" stops after the first word until the client
has gone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.http_server import Request, Script, Server, Step, event_stream, http_server, response
from tests.fakes.scripted import Hold

MODEL = "fake-model"


@asynccontextmanager
async def openai_server(owner: str = "fake") -> AsyncIterator[Server]:
    """A server with one model, `owned_by` `owner`."""

    def answer(request: Request) -> Script:
        if (request.method, request.path) == ("GET", "/v1/models"):
            return [response(body=models(owner))]
        if (request.method, request.path) == ("POST", "/v1/chat/completions"):
            return completion(json.loads(request.body))
        return [response(404, body=error("no such path", "not_found_error"))]

    async with http_server(answer) as server:
        yield server


def completion(body: dict[str, Any]) -> Script:
    """The echo of the last message, as chunks."""
    words, endless = echoed(body["messages"][-1]["content"])
    steps: list[Step] = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]
    if endless:
        return event_stream(*steps[:2], Hold())
    steps.append(chunk({}, finish_reason="stop"))
    if body.get("stream_options", {}).get("include_usage"):
        steps.append(usage(prompt_tokens=len(words), completion_tokens=len(words)))
    return event_stream(*steps, data("[DONE]"))


def chunk(delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any) -> bytes:
    """One ``chat.completion.chunk``; `delta` None: no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": choices,
    }
    return data(json.dumps(whole | more))


def usage(**counts: Any) -> bytes:
    """The chunk without choices that `include_usage` asks for."""
    return chunk(None, usage=counts)


def data(text: str) -> bytes:
    """One server-sent event."""
    return f"data: {text}\n\n".encode()


def error(message: str, kind: str = "invalid_request_error", code: Any = None) -> bytes:
    """An error's body."""
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


def echoed(text: str) -> tuple[list[str], bool]:
    """The pieces of the answer to `text`, and whether it is to stop after the first until the client has gone."""
    words = text.split()
    return [f" {word}" if number else word for number, word in enumerate(words)], words[0] == "forever"


def models(owner: str) -> bytes:
    """The answer to GET /v1/models."""
    return json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": owner}]}).encode()
