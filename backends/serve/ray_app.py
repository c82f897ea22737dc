"""The same app over several machines: a Ray Serve application. Importing this needs ``pip install 'llmchat[ray]'``.

    clients -> Ray's HTTP proxy -> "front": create_app(Fleet) -> "engine" replica 1: the configured backend
                                                              -> "engine" replica 2: ...

The front is one process with the streams, limits and keys, as on one machine; so resuming and cancelling need no
routing. The replicas have the engines. `ConversationRouter` sends a conversation to the replica that holds its prefix
(`backends.routing.affinity`), and to the next one when that is gone or full.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported: nothing is reported to anybody

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, RequestRouterConfig
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica
from starlette.applications import Starlette

from backends import events, providers
from backends.backend import ChatRequest
from backends.config import ConfigFile, Serve
from backends.errors import BackendError, Code
from backends.events import Error, Event, Meta, Status
from backends.routing.affinity import Homes, conversation, ranked
from backends.serve.app import Public, create_app
from backends.serve.guard import Access
from backends.serve.models import Models
from backends.serve.retry import Retrying
from backends.serve.server import bind_tcp
from backends.telemetry.stages import Span

APP = "llmchat"
ENGINE = "engine"

_DEFAULT_STREAMS = 64  # a backend without a bound of its own
_FRONT_REQUESTS = 100_000  # the service has its own limits
_WARM_S = 2.0  # a hint waits no longer for a replica

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(ChatRequest)


class Plan(msgspec.Struct, frozen=True):
    """What to deploy. `file` has the backend, `settings` its limits; the files that they name are on every machine.

    `replicas` of the backend, each with `gpus` GPUs of its own (0.5: two share one). The rest is as with `serve`.
    """

    file: ConfigFile
    settings: Serve
    access: Access
    models: Models
    replicas: int
    gpus: float = 0.0
    host: str = "127.0.0.1"
    port: int = 8080
    resume_grace: float = 10.0

    @property
    def streams(self) -> int:
        """Requests that a replica has at most before others get its conversations: as many as it answers at a time."""
        options = providers.check(self.file)
        innermost = options[self.file.config.backend]
        while isinstance(inner := getattr(innermost, "inner", None), str):
            innermost = options[inner]
        return int(getattr(innermost, "max_streams", _DEFAULT_STREAMS))


@contextmanager
def deployed(plan: Plan) -> Iterator[str]:
    """Run `plan` inside the `with`; yields its address. The cluster is that of ``RAY_ADDRESS``, else one started here.

    Raises BackendError where it cannot be deployed.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        _start(plan)
        try:
            serve.run(_application(plan), name=APP, route_prefix="/", logging_config={"log_level": "WARNING"})
            yield f"http{'s' if plan.settings.tls_cert else ''}://{plan.host}:{plan.port}"
        finally:
            serve.delete(APP)
    except (RayError, RayServeException, RuntimeError, ConnectionError) as error:
        raise BackendError(Code.CONFIG, f"Ray Serve cannot run {plan.file.config.backend}: {error}") from error
    finally:
        ray.shutdown()


def _start(plan: Plan) -> None:
    """A cluster, and Serve's proxy in it. One that is started here is reached from this machine only."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "namespace": APP}
    if "RAY_ADDRESS" in os.environ:
        ray.init(**quiet)
    else:
        bind_tcp(plan.host, plan.port).close()  # Ray's proxies would share a port that is taken
        ray.init("local", _node_ip_address="127.0.0.1", include_dashboard=False, **quiet)
    serve.start(http_options=_http(plan))


def _http(plan: Plan) -> HTTPOptions:
    cert, key = plan.settings.tls_cert, plan.settings.tls_key
    tls = {"ssl_certfile": cert, "ssl_keyfile": key or cert} if cert else {}
    return HTTPOptions(host=plan.host, port=plan.port, **tls)


def _application(plan: Plan) -> serve.Application:
    engine = serve.deployment(
        Replica,
        name=ENGINE,
        num_replicas=plan.replicas,
        max_ongoing_requests=plan.streams,
        ray_actor_options={"num_cpus": 1, "num_gpus": plan.gpus},
        request_router_config=RequestRouterConfig(request_router_class=ConversationRouter),
    ).bind(plan.file)

    def app() -> Starlette:
        return front(plan, serve.get_deployment_handle(ENGINE, app_name=APP))

    # The app goes to where `serve.get_deployment_handle` finds the replicas: the builder runs there.
    return serve.deployment(
        serve.ingress(app)(),
        name="front",
        num_replicas=1,
        max_ongoing_requests=_FRONT_REQUESTS,
        ray_actor_options={"num_cpus": 0},
    ).bind(engine)


def front(plan: Plan, handle: DeploymentHandle[Replica]) -> Starlette:
    """The ASGI app. Who finds all replicas full waits in its line, with his place told, not in Ray's."""
    most = plan.settings.max_running or plan.replicas * plan.streams
    settings = msgspec.structs.replace(plan.settings, max_running=most)
    return create_app(
        Retrying(Fleet(handle), settings.retries),
        settings,
        access=msgspec.structs.replace(plan.access, hosts=plan.access.hosts | {plan.host}),
        resume_grace=plan.resume_grace,
        public=Public(plan.models, plan.file.config.budget),
    )


class Replica:
    """One of the backends, in a process of Ray's. Events cross to the front as their names and JSON."""

    async def __init__(self, file: ConfigFile) -> None:  # type: ignore[misc]  # Ray awaits it
        """The backend of `file`, with an engine that no other replica on this machine shares; it begins to load."""
        self._folder = tempfile.TemporaryDirectory(prefix="llmchat-", ignore_cleanup_errors=True)
        os.environ["XDG_RUNTIME_DIR"] = self._folder.name
        self._name = serve.get_replica_context().replica_id.unique_id
        self._backend = providers.open_backend(file)
        await self._backend.warm(ChatRequest(()))

    async def stream(self, request: bytes, conversation: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """The answer, behind the name of this replica, which comes at once."""
        yield self._name, b""
        answer = self._backend.stream(_DECODER.decode(request))
        try:
            async for event in answer:
                yield events.name(event), events.encode(event)
        finally:
            await answer.aclose()

    async def warm(self, request: bytes, conversation: str) -> tuple[str, bytes] | None:
        """See `Backend.warm`."""
        met = await self._backend.warm(_DECODER.decode(request))
        return None if met is None else (events.name(met), events.encode(met))

    async def __del__(self) -> None:  # Ray awaits it when the replica is to end
        await self._backend.aclose()
        self._folder.cleanup()


class Fleet:
    """A `Backend` over the replicas."""

    def __init__(self, handle: DeploymentHandle[Replica]) -> None:
        self._handle = handle

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. `Meta.route` names the replica; the way to it counts as waiting in line."""
        since = time.perf_counter()
        yield Status("connecting")
        answer = self._handle.options(stream=True).stream.remote(
            _ENCODER.encode(request), conversation=conversation(request)
        )
        waited: float | None = None
        try:
            async for name, data in answer:
                if waited is None:
                    waited = (time.perf_counter() - since) * 1000
                    yield Meta(route=f"replica {name}", spans=(Span("provider_queue", 0.0, waited, "client"),))
                elif (event := events.decode(name, data)) is not None:
                    yield events.shifted(event, waited)
        except (RayError, RayServeException) as error:
            yield _lost(error)
        finally:
            answer.cancel()  # harmless when it has ended

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`: goes to the replica that would get the question."""
        answer = self._handle.warm.remote(_ENCODER.encode(request), conversation=conversation(request))
        try:
            met = await asyncio.wait_for(answer, _WARM_S)
        except TimeoutError:
            return Status("queued", detail="no replica is free")
        except (RayError, RayServeException) as error:
            return _lost(error)
        event = None if met is None else events.decode(*met)
        return event if isinstance(event, Status | Error) else None

    async def aclose(self) -> None:
        """Nothing: the replicas are Ray's to end."""


def _lost(error: Exception) -> Error:
    """Why a replica does not answer (any more)."""
    words = str(error).strip().splitlines()
    if isinstance(error, BackPressureError):
        return Error(Code.OVERLOADED, "all replicas are full", retryable=True, retry_after=1.0)
    return Error(Code.INTERRUPTED, f"the replica was lost: {words[0] if words else error!r}", retryable=True)


class ConversationRouter(RequestRouter):
    """Which replica gets a request; Ray asks in this order, and passes on to the next who has no place left."""

    queue_len_response_deadline_s = 1.0  # Ray's 0.1 s makes a replica whose cores are busy seem to be gone

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._homes = Homes()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """See `RequestRouter`."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # a round in which all are full is followed by a pause
        by_name = {each.replica_id.unique_id: each for each in candidate_replicas}
        load = {name: self.replica_queue_len_cache.get(each.replica_id) or 0 for name, each in by_name.items()}
        asked = _conversation_of(pending_request)
        return [[by_name[name]] for name in ranked(asked, self._homes.of(asked), load)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """See `RequestRouter`."""
        self._homes.note(_conversation_of(pending_request), replica_id.unique_id)


def _conversation_of(pending: PendingRequest) -> str:
    return str(pending.kwargs.get("conversation", ""))
