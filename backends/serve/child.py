"""The engine's child process: ``python -m backends.serve.child``, started by `backends.local`, never by hand.

Standard input gives a `Start`, standard output takes one `Handshake`, standard error is the log. It answers before its
model has loaded, and ends after its last lease, on SIGTERM, or when nobody takes its handshake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.backend import Backend
from backends.engine import Engine
from backends.errors import BackendError
from backends.local.runtime_folder import RuntimeFolder
from backends.local.spec import Endpoint, Handshake, Spec, Start
from backends.serve.lease import Leases

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger(__name__)

_LAST_WORDS_S = 1.0
_RESUME_GRACE_S = 3600.0
"""Whoever asks here bounds it (`--resume-grace`, an hour at most), and ends what nobody comes back to by DELETE."""


def main() -> int:
    """Serve what standard input asks for. Returns the exit code."""
    handshake = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints belongs into the log
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    start = msgspec.json.decode(sys.stdin.buffer.read(), type=Start)
    try:
        asyncio.run(_serve(start, handshake))
    except BackendError as error:
        log.error("%s", error)
        _tell(handshake, Handshake(error=error.event()))
        return 1
    return 0


async def _serve(start: Start, handshake: int) -> None:
    """Load, answer and hold out until the leases are over. Raises BackendError when no address can be had."""
    from backends.serve.app import create_app
    from backends.serve.guard import Access
    from backends.serve.service import RESUME_GRACE

    engine = Engine(start.spec.engine)
    await engine.start()
    backend = _with_documents(engine, start.spec)
    leases = Leases(start.grace, start.first_lease)
    token = secrets.token_urlsafe(32)
    access, ready = Access(token), lambda: engine.state == "ready"
    app = create_app(backend, access=access, resume_grace=_RESUME_GRACE_S, read_grace=RESUME_GRACE, ready=ready)
    app.router.routes.append(leases.route)
    folder = RuntimeFolder(Path(start.folder))
    async with _listening(app, start, folder) as (url, uds):
        endpoint = Endpoint(os.getpid(), url, uds, token)
        folder.publish(start.key, endpoint)
        try:
            if _tell(handshake, Handshake(endpoint)):
                await _hold_out(engine, leases, lambda: folder.hide(start.key, endpoint))
        finally:
            folder.forget(start.key, endpoint)
            leases.end()
            await backend.aclose()
    log.info("ended")


async def _hold_out(engine: Engine, leases: Leases, hide: Callable[[], None]) -> None:
    """Wait for the end of the leases, or for SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leases.end)
    leases.start()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(_watch(engine, leases, hide))
        await leases.over.wait()
        loading.cancel()


async def _watch(engine: Engine, leases: Leases, hide: Callable[[], None]) -> None:
    """An engine that failed says so to the clients it has; whoever comes later is to start another."""
    try:
        info = await engine.ready()
    except BackendError as error:
        log.error("%s", error)
        hide()
    else:
        log.info("%s is ready: context %d tokens, KV cache %d cells", info.name, info.n_ctx, info.kv_cells)
        leases.grant_while(lambda: engine.state == "ready")


def _with_documents(engine: Engine, spec: Spec) -> Backend:
    """`engine`, with the documents around it, if any; tokens are counted by the model, once it is loaded."""
    if not spec.documents:
        return engine
    from backends.providers.rag import with_documents
    from backends.rag.options import Options
    from backends.rag.tokens import estimate_tokens

    def context_size() -> int | None:
        return engine.info.n_ctx if engine.info is not None else None

    def count_tokens(text: str) -> int:
        return engine.count_tokens(text) if engine.info is not None else estimate_tokens(text)

    return with_documents(
        engine,
        Path(spec.documents),
        Options(spec.token_budget, spec.top_k, compress=spec.compress),
        embedding=spec.embedding,
        reranker=Path(spec.reranker) if spec.reranker else None,
        database=spec.database,
        count_tokens=count_tokens,
        context_size=context_size,
    )


@asynccontextmanager
async def _listening(app: Starlette, start: Start, folder: RuntimeFolder) -> AsyncIterator[tuple[str, str]]:
    """Serve `app` where `start.transport` says; yields URL and Unix socket ("" on TCP). Raises BackendError."""
    from backends.serve.server import listening

    uds = "" if start.transport == "tcp" or not hasattr(socket, "AF_UNIX") else str(folder.new_socket(start.key))
    async with AsyncExitStack() as stack:
        if uds:
            try:
                await stack.enter_async_context(listening(app, uds=uds, grace=_LAST_WORDS_S))
            except BackendError as error:
                if start.transport == "unix":
                    raise
                log.warning("no Unix socket, so loopback TCP: %s", error)
                uds = ""
        url = "http://localhost" if uds else await stack.enter_async_context(listening(app, grace=_LAST_WORDS_S))
        yield url, uds


def _tell(descriptor: int, handshake: Handshake) -> bool:
    """Write the handshake and close; False when whoever started us is gone."""
    try:
        os.write(descriptor, msgspec.json.encode(handshake))
    except BrokenPipeError:
        return False
    finally:
        os.close(descriptor)
    return True


if __name__ == "__main__":
    sys.exit(main())
