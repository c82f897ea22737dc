"""The same app over several machines: a Ray Serve application. Importing this needs ``pip install 'llmchat[ray]'``.

    clients -> Ray's HTTP proxy -> "front": create_app(Fleet) -> "engine" replica 1: the configured backend
                                                              -> "engine" replica 2: ...

The front is one process with the streams, limits and keys, as on one machine; so whoever comes back finds his answer
without routing. The replicas have the engines. `ConversationRouter` sends a conversation to the replica that holds its
prefix (`backends.routing.affinity`), and to the next one when that is gone or full; what is to stand still or to go on
while its reader is away, to the replica that computes it. How many answers a replica takes it says itself, not Ray: one
that is full has to hear that an answer is to stand still, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import Context
from functools import partial
from typing import Any

import msgspec

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported: nothing is reported to anybody

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions, RequestRouterConfig
from ray.serve.exceptions import RayServeException, RequestCancelledError
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica
from starlette.applications import Starlette

from backends import events, providers
from backends.backend import ChatRequest, Pausable, pausable
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
_REQUESTS = 100_000  # at a time, for Ray: the service and its replicas have their own limits
_WARM_S = 2.0  # a hint waits no longer for a replica
_FULL = b"full"
_FULL_S = 0.05  # between two rounds in which all replicas were full

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
        max_ongoing_requests=_REQUESTS,
        ray_actor_options={"num_cpus": 1, "num_gpus": plan.gpus},
        request_router_config=RequestRouterConfig(request_router_class=ConversationRouter),
    ).bind(plan.file, plan.streams)

    def app() -> Starlette:
        return front(plan, serve.get_deployment_handle(ENGINE, app_name=APP))

    # The app goes to where `serve.get_deployment_handle` finds the replicas: the builder runs there.
    return serve.deployment(
        serve.ingress(app)(),
        name="front",
        num_replicas=1,
        max_ongoing_requests=_REQUESTS,
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

    async def __init__(self, file: ConfigFile, streams: int) -> None:  # type: ignore[misc]  # Ray awaits it
        """The backend of `file`, with an engine that no other replica on this machine shares; it begins to load.

        It answers `streams` requests at a time.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="llmchat-", ignore_cleanup_errors=True)
        os.environ["XDG_RUNTIME_DIR"] = self._folder.name
        self._name = serve.get_replica_context().replica_id.unique_id
        self._streams = streams
        self._keys: list[str] = []  # of the answers that it makes now
        self._backend = providers.open_backend(file)
        await self._backend.warm(ChatRequest(()))

    async def stream(
        self, request: bytes, conversation: str, passed: tuple[str, ...]
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """The name of this replica, which comes at once, and the answer; `_FULL` beside the name if there is none."""
        if len(self._keys) >= self._streams:
            yield self._name, _FULL
            return
        asked = _DECODER.decode(request)
        self._keys.append(asked.key)
        try:
            yield self._name, b""
            async with aclosing(self._backend.stream(asked)) as answer:
                async for event in answer:
                    yield events.name(event), events.encode(event)
        finally:
            self._keys.remove(asked.key)
            if (able := pausable(self._backend)) is not None:
                able.resume(asked.key)

    async def stand(self, key: str, still: bool, replica: str) -> bool:
        """Let the answer to the request `key` stand still, or go on. False: it can only be closed."""
        able = pausable(self._backend)
        if able is not None and key in self._keys:
            (able.pause if still else able.resume)(key)
        return able is not None

    async def warm(self, request: bytes, conversation: str) -> tuple[str, bytes] | None:
        """See `Backend.warm`."""
        met = await self._backend.warm(_DECODER.decode(request))
        return None if met is None else (events.name(met), events.encode(met))

    async def __del__(self) -> None:  # Ray awaits it when the replica is to end
        await self._backend.aclose()
        self._folder.cleanup()


class _Answer:
    """An answer that `replica` makes, and whether it has been told to let it stand still."""

    def __init__(self, replica: str, parts: DeploymentResponseGenerator[tuple[str, bytes]]) -> None:
        self.replica = replica
        self.parts = parts
        self.stands = False
        self.telling: asyncio.Task[None] | None = None


class Fleet:
    """A `Backend` over the replicas, whose answers stand still where their backend's can; others it ends instead."""

    def __init__(self, handle: DeploymentHandle[Replica]) -> None:
        self._handle = handle
        self._answers: dict[str, _Answer] = {}
        self._paused: set[str] = set()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. `Meta.route` names the replica; the way to it counts as waiting in line."""
        since = time.perf_counter()
        yield Status("connecting")
        try:
            async with self._taken(request) as answer:
                waited = (time.perf_counter() - since) * 1000
                yield Meta(route=f"replica {answer.replica}", spans=(Span("provider_queue", 0.0, waited, "client"),))
                async for name, data in answer.parts:
                    if (event := events.decode(name, data)) is not None:
                        yield events.shifted(event, waited)
        except (RayError, RayServeException) as error:
            yield _lost(error)

    @asynccontextmanager
    async def _taken(self, request: ChatRequest) -> AsyncIterator[_Answer]:
        """The answer of a replica that has a place for it. Raises RayError, RayServeException.

        Ray ends whatever a request called in its context together with that request, which a lost connection ends.
        """
        full: tuple[str, ...] = ()
        while True:
            asking = partial(self._handle.options(stream=True).stream.remote, _ENCODER.encode(request))
            parts = Context().run(asking, conversation=conversation(request), passed=full)
            try:
                replica, word = await anext(parts)
                if word != _FULL:
                    with self._known(request.key, _Answer(replica, parts)) as answer:
                        yield answer
                    return
            finally:
                parts.cancel()  # harmless when it has ended
            if replica in full:
                await asyncio.sleep(_FULL_S)
                full = ()
            else:
                full = (*full, replica)

    @contextmanager
    def _known(self, key: str, answer: _Answer) -> Iterator[_Answer]:
        """`answer` is that of `key` inside the `with`: who pauses it reaches its replica."""
        self._answers[key] = answer
        self._tell(key)
        try:
            yield answer
        finally:
            del self._answers[key]
            if answer.telling is not None:
                answer.telling.cancel()

    # ---- Pausable

    @property
    def pausable(self) -> Pausable:
        """It is, as far as the replicas' backend is."""
        return self

    def pause(self, key: str) -> None:
        """See `Pausable`. What its replica cannot let stand still is ended."""
        self._paused.add(key)
        self._tell(key)

    def resume(self, key: str) -> None:
        """See `Pausable`."""
        self._paused.discard(key)
        self._tell(key)

    def _tell(self, key: str) -> None:
        answer = self._answers.get(key)
        if answer is not None and (answer.telling is None or answer.telling.done()):
            answer.telling = asyncio.create_task(self._stand(key, answer), name=f"stand {key[:6]}")

    async def _stand(self, key: str, answer: _Answer) -> None:
        """Tell its replica until that knows how it is now."""
        while answer.stands != (still := key in self._paused):
            answer.stands = still
            try:
                able = await Context().run(self._handle.stand.remote, key, still, replica=answer.replica)
            except (RayError, RayServeException):
                return  # the replica is lost, as its answer says
            if not able:
                answer.parts.cancel()
                return

    # ---- the rest of a Backend

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """See `Backend.warm`: goes to the replica that would get the question."""
        answer = self._handle.warm.remote(_ENCODER.encode(request), conversation=conversation(request))
        try:
            met = await asyncio.wait_for(answer, _WARM_S)
        except TimeoutError:
            return Status("queued", detail="no replica answers yet")
        except (RayError, RayServeException) as error:
            return _lost(error)
        event = None if met is None else events.decode(*met)
        return event if isinstance(event, Status | Error) else None

    async def aclose(self) -> None:
        """Nothing: the replicas are Ray's to end."""


def _lost(error: Exception) -> Error:
    """Why a replica does not answer (any more)."""
    words = str(error).strip().splitlines()
    if isinstance(error, RequestCancelledError):
        return Error(Code.INTERRUPTED, "the reader was away, and the replica's backend cannot wait for it")
    return Error(Code.INTERRUPTED, f"the replica was lost: {words[0] if words else error!r}", retryable=True)


class ConversationRouter(RequestRouter):
    """Which replica gets a request: the one that it names, else the best that was not full when it `passed` there."""

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
        if (only := pending_request.kwargs.get("replica")) in by_name:
            return [[by_name[only]]]
        load = {name: self.replica_queue_len_cache.get(each.replica_id) or 0 for name, each in by_name.items()}
        asked, passed = _conversation_of(pending_request), pending_request.kwargs.get("passed", ())
        order = sorted(ranked(asked, self._homes.of(asked), load), key=lambda name: name in passed)
        return [[by_name[name]] for name in order]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """See `RequestRouter`."""
        if asked := _conversation_of(pending_request):
            self._homes.note(asked, replica_id.unique_id)


def _conversation_of(pending: PendingRequest) -> str:
    return str(pending.kwargs.get("conversation", ""))
