"""The HTTP app around one backend: the native protocol (DESIGN.md, "Events").

    POST   /v1/chat              a ChatRequest as JSON -> the event stream; its id in `X-LLMChat-Id` and in the first
                                 event; how long it waits for a lost reader in `X-LLMChat-Resume-Grace`, in seconds.
                                 With the `Idempotency-Key` of a stream that is still there: that one, from its start
    GET    /v1/chat/{id}/events  the rest of a stream whose connection was lost, behind `Last-Event-ID` (or ?after=);
                                 204 when nothing is left of it, 404 when it is not there (any more), or somebody
                                 else's, 410 when what was missed is too long ago. Whoever read it before is ended
    DELETE /v1/chat/{id}         cancels: the stream ends with Done, finishReason "cancelled"
    POST   /v1/warm              a ChatRequest as JSON: this prefix is coming -> 204, or the event that a request would
                                 meet: {"event": "status", "data": {...}}
    GET    /healthz              200 while the process answers; needs no token
    GET    /readyz               200 when the backend can answer, else 503

and for whoever serves the public (`Public`), beside them:

    POST   /v1/chat/completions, GET /v1/models      OpenAI's form of it (openai/)
    GET    /metrics                                  Prometheus (metrics.py)
    GET    /openapi.json                             all of this, described (openapi.py)
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from backends.backend import Backend
from backends.serve.endpoint import Endpoint
from backends.serve.guard import Guard
from backends.serve.models import Models
from backends.serve.requests import MAX_BODY
from backends.serve.service import PING_INTERVAL, RESUME_GRACE, Service


def create_app(
    backend: Backend,
    *,
    token: str | None = None,
    hosts: frozenset[str] = frozenset(),
    ping_interval: float = PING_INTERVAL,
    resume_grace: float = RESUME_GRACE,
    max_body: int = MAX_BODY,
    ready: Callable[[], bool] | None = None,
    models: Models | None = None,
) -> Starlette:
    """The ASGI app that answers with `backend`, which stays the caller's to close.

    `token`: what clients must bring as a Bearer token. `hosts`: names that clients may use for this server, beside
    localhost and IP addresses. `ping_interval`: seconds of silence after which a comment goes out. `resume_grace`:
    seconds for which a stream waits for a reader who lost the connection; 0: it ends at once. `max_body`: bytes.
    `ready` tells whether a request would be worked on at once; without it the backend is asked by a hint. `models`:
    what clients of OpenAI's API may ask for; without it there is no such API. `app.state.streams` is the `Streams` that
    run.
    """
    service = Service(backend, ping_interval=ping_interval, resume_grace=resume_grace, max_body=max_body, ready=ready)
    routes = [
        Route("/v1/chat", Endpoint(service.chat), methods=["POST"]),
        Route("/v1/chat/{id}/events", Endpoint(service.resume), methods=["GET"]),
        Route("/v1/chat/{id}", Endpoint(service.cancel), methods=["DELETE"]),
        Route("/v1/warm", Endpoint(service.warm), methods=["POST"]),
        Route("/healthz", Endpoint(service.health), methods=["GET"]),
        Route("/readyz", Endpoint(service.readiness), methods=["GET"]),
    ]
    if models is not None:
        from backends.serve.openai import endpoint as openai

        routes += openai.routes(service, models)
    app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts, token=token)])
    app.state.streams = service.streams
    return app
