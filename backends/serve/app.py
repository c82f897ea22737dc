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

import math
from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from backends.backend import Backend, Feature
from backends.config import Budget, Config, Serve
from backends.serve.cors import Cors
from backends.serve.guard import Access, Guard
from backends.serve.models import Models
from backends.serve.observer import Observer
from backends.serve.service import INSIDE, RESUME_GRACE, Service


class Public(msgspec.Struct, frozen=True):
    """What the public gets beside the native protocol: OpenAI's API with these `models`, metrics by these budgets.

    `observers` are told of every request too.
    """

    models: Models = msgspec.field(default_factory=lambda: Models("llmchat"))
    budget: Callable[[Feature], Budget] = Config().budget
    observers: tuple[Observer, ...] = ()


def create_app(
    backend: Backend,
    settings: Serve = INSIDE,
    *,
    access: Access | None = None,
    resume_grace: float = RESUME_GRACE,
    read_grace: float = math.inf,
    ready: Callable[[], bool] | None = None,
    public: Public | None = None,
) -> Starlette:
    """The ASGI app that answers with `backend`, which stays the caller's to close.

    `settings`: its limits. `access`: who may use it. `resume_grace`: seconds for which a stream waits for a reader who
    lost the connection; 0: it ends at once. `read_grace`: the most of them once it has been read to its end. `ready`
    tells whether a request would be worked on at once; without it the backend is asked by a hint. `public`: what there
    is beside the native protocol. `app.state.service` is the `Service`, `app.state.streams` its streams.
    """
    access = access or Access()
    service = Service(backend, settings, access=access, resume_grace=resume_grace, read_grace=read_grace, ready=ready)
    routes = [
        service.route("POST", "/v1/chat", service.chat),
        service.route("GET", "/v1/chat/{id}/events", service.resume),
        service.route("DELETE", "/v1/chat/{id}", service.cancel),
        service.route("POST", "/v1/warm", service.warm),
        service.route("GET", "/healthz", service.health),
        service.route("GET", "/readyz", service.readiness),
    ]
    if public is not None:
        routes = [*_public(service, public), *routes]  # before /v1/chat/{id}, which would take "completions" for one
    middleware = [
        Middleware(Cors, origins=lambda: service.access.origins),
        Middleware(Guard, access=lambda: service.access, on_refusal=service.refused),
    ]
    app = Starlette(routes=routes, middleware=middleware)
    app.state.service, app.state.streams = service, service.streams
    return app


def _public(service: Service, public: Public) -> list[Route]:
    from backends.serve.metrics import Metrics
    from backends.serve.openai import endpoint as openai
    from backends.serve.openapi import OpenApi

    metrics = Metrics(service.streams, public.budget)
    service.observers += [metrics, *public.observers]
    return [
        *openai.routes(service, public.models),
        service.route("GET", "/metrics", metrics.show),
        service.route("GET", "/openapi.json", OpenApi().show),
    ]
