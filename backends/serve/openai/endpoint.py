"""``POST /v1/chat/completions``, ``GET /v1/models`` and ``GET /v1/models/{model}``."""

from __future__ import annotations

import time

import msgspec
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backends.errors import Code
from backends.serve.models import Models
from backends.serve.openai.answer import ChunkWire, WholeWire
from backends.serve.openai.forms import CompletionRequest, Model, ModelList
from backends.serve.openai.request import chat_request
from backends.serve.replies import Refusal, reply
from backends.serve.requests import read_json
from backends.serve.service import Service
from backends.serve.wire import Wire
from backends.telemetry.timeline import Timeline

_DECODER = msgspec.json.Decoder(CompletionRequest)


def routes(service: Service, models: Models) -> list[Route]:
    """The routes, on the streams of `service`."""
    completions = Completions(service, models)
    return [
        service.route("POST", "/v1/chat/completions", completions.complete),
        service.route("GET", "/v1/models", completions.list),
        service.route("GET", "/v1/models/{model:path}", completions.show),
    ]


class Completions:
    """OpenAI's chat completions and models."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models
        self._since = int(time.time())

    async def complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A completion, or the stream of its chunks. A failure before the first of them is an HTTP error."""
        asked = await read_json(
            Headers(scope=scope), receive, self._service.settings.max_body, _DECODER, "a chat completion request"
        )
        request = chat_request(asked, self._models.resolve(asked.model))
        include_usage = bool(asked.stream_options and asked.stream_options.include_usage)

        def make_wire(stream_id: str, timeline: Timeline) -> Wire:
            if asked.stream:
                return ChunkWire(asked.model, stream_id, timeline, include_usage=include_usage)
            return WholeWire(asked.model, stream_id, timeline)

        await self._service.answer(request, make_wire, scope, receive, send)

    async def list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """All models."""
        names = await self._models.all()
        await reply(send, 200, ModelList(tuple(Model(name, self._since) for name in names)))

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One model."""
        name = scope["path_params"]["model"]
        if name not in await self._models.all():
            raise Refusal(404, f"there is no model {name!r:.80} here (GET /v1/models)", Code.NOT_FOUND, param="model")
        await reply(send, 200, Model(name, self._since))
