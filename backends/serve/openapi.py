"""``GET /openapi.json``: the service described (OpenAPI 3.1), with the schemas of the structs it reads and writes."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from backends.backend import ChatRequest
from backends.events import Citation, Done, Error, Meta, Reasoning, Status, Token
from backends.serve.openai.forms import Chunk, Completion, CompletionRequest, Model, ModelList
from backends.serve.replies import ErrorBody, reply

_STRUCTS = (
    *(ChatRequest, Status, Token, Reasoning, Citation, Meta, Error, Done),
    *(CompletionRequest, Completion, Chunk, Model, ModelList, ErrorBody),
)
_EVENTS = (
    "Server-sent events: `status`, `token`, `reasoning`, `citation`, `meta`, and one `error` or `done` at the end; the "
    "data of each is the schema of its name."
)
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "id": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
_STREAM_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
_LAST_EVENT = {"schema": {"type": "string", "pattern": "^[0-9]{1,15}$"}, "required": False}

Json = dict[str, Any]


def description(number: str) -> Json:
    """The document. `number` is llmchat's version."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmchat serve", "version": number},
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _paths() -> Json:
    none, stream = {"description": "Done."}, _content("text/event-stream", _EVENT, _EVENTS)
    completion = {
        "description": "The completion; with `stream`, server-sent events whose data is a `Chunk`, then `[DONE]`.",
        "content": {
            "application/json": {"schema": _ref("Completion")},
            "text/event-stream": {"schema": _EVENT},
        },
    }
    state = _content("application/json", {"type": "object"}, "The state, in words.")
    return {
        "/v1/chat": {
            "post": _operation("Ask, in the native protocol.", {"200": stream}, _body("ChatRequest"))
            | {"parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}]}
        },
        "/v1/chat/{id}/events": {
            "get": _operation("The rest of a stream whose connection was lost.", {"200": stream, "204": none})
            | {
                "parameters": [
                    _STREAM_ID,
                    {"name": "Last-Event-ID", "in": "header"} | _LAST_EVENT,
                    {"name": "after", "in": "query"} | _LAST_EVENT,
                ]
            }
        },
        "/v1/chat/{id}": {"delete": _operation("Cancel.", {"204": none}) | {"parameters": [_STREAM_ID]}},
        "/v1/warm": {
            "post": _operation(
                "This prefix is coming.",
                {"204": none, "200": _content("application/json", {"type": "object"}, "What a request would meet.")},
                _body("ChatRequest"),
            )
        },
        "/v1/chat/completions": {
            "post": _operation("Ask, as OpenAI's API has it.", {"200": completion}, _body("CompletionRequest"))
        },
        "/v1/models": {"get": _operation("All models.", {"200": _json("ModelList")})},
        "/v1/models/{model}": {
            "get": _operation("One model.", {"200": _json("Model")}) | {"parameters": [_STREAM_ID | {"name": "model"}]}
        },
        "/healthz": {"get": _operation("Whether the process answers.", {"200": state}) | {"security": []}},
        "/readyz": {"get": _operation("Whether the model is loaded.", {"200": state, "503": state})},
        "/metrics": {
            "get": _operation("Prometheus.", {"200": _content("text/plain", {"type": "string"}, "All of it.")})
        },
    }


def _operation(summary: str, responses: Json, body: Json | None = None) -> Json:
    found: Json = {"summary": summary, "responses": responses | {"default": _json("ErrorBody", "Why not.")}}
    return found | ({} if body is None else {"requestBody": body})


def _body(name: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(name)}}}


def _json(name: str, text: str = "Here it is.") -> Json:
    return _content("application/json", _ref(name), text)


def _content(kind: str, schema: Json, text: str) -> Json:
    return {"description": text, "content": {kind: {"schema": schema}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


class OpenApi:
    """The endpoint; the document is made when it is first asked for."""

    def __init__(self) -> None:
        self._document: Json | None = None

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /openapi.json."""
        if self._document is None:
            self._document = description(version())
        await reply(send, 200, self._document)


def version() -> str:
    """llmchat's, as it is installed."""
    from importlib import metadata

    try:
        return metadata.version("llmchat")
    except metadata.PackageNotFoundError:
        return "not installed"
