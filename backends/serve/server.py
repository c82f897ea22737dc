"""The app on a socket: uvicorn, started and ended in good order. Prints nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from backends.errors import BackendError, Code
from backends.serve.certificate import Certificate
from backends.serve.peer import same_user_only

_KEEP_ALIVE_S = 75  # longer than the client's 60, so that a client never picks a connection that is just being closed
_BACKLOG = 1024


async def run(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: str | None = None,
    tls: Certificate | None = None,
    on_started: Callable[[str], None] | None = None,
    on_hangup: Callable[[], None] | None = None,
    grace: float = 5.0,
) -> None:
    """Serve `app` until SIGINT or SIGTERM (in the main thread) or until this task is cancelled; see `listening`.

    `on_hangup` is called on SIGHUP.
    """
    stop = asyncio.Event()
    async with listening(app, host=host, port=port, uds=uds, tls=tls, grace=grace) as address:
        with _on_signals(stop.set, on_hangup):
            if on_started is not None:
                on_started(address)  # whoever reads that may send a signal
            await stop.wait()


@asynccontextmanager
async def listening(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: str | None = None,
    tls: Certificate | None = None,
    grace: float = 5.0,
) -> AsyncIterator[str]:
    """Serve `app` (of `create_app`) inside the `async with`; yields the address, as `backends.sse.address` reads it.

    A Unix socket is open to its owner only and removed at the end; a dead one in its place is replaced. On leaving,
    running streams have `grace` seconds to finish. Raises BackendError when the address cannot be had.
    """
    with _bound(host, port, uds) as (listener, address):
        config = _config(app, uds is not None, grace)
        server = _Server(config)
        if tls is not None:
            config.ssl = tls.context
            address = address.replace("http:", "https:", 1)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            try:
                await server.is_up.wait()
                yield address
            finally:
                await _finish(app, server, serving, grace)


async def _finish(app: Starlette, server: _Server, serving: asyncio.Task[None], grace: float) -> None:
    try:
        await app.state.streams.drain(grace)
    finally:
        server.should_exit = True
        await asyncio.wait([serving])


def _config(app: Starlette, local: bool, grace: float) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace)),
        backlog=_BACKLOG,
    )
    config.load()
    if local:
        config.http_protocol_class = same_user_only(config.http_protocol_class)
    return config


class _Server(uvicorn.Server):
    """uvicorn that tells when it is up and leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def _bound(host: str, port: int, uds: str | None) -> Iterator[tuple[socket.socket, str]]:
    if uds is None:
        with bind_tcp(host, port) as listener:
            name, number = listener.getsockname()[:2]
            yield listener, f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
        return
    path = Path(uds)
    with _bind_uds(path) as listener:
        try:
            yield listener, f"unix:{uds}"
        finally:
            path.unlink(missing_ok=True)


def bind_tcp(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises BackendError where that address is not to be had."""
    if not 0 <= port < 65_536:  # getaddrinfo would take it modulo 65,536
        raise BackendError(Code.CONFIG, f"cannot listen on {host}:{port}: a port is a number below 65536")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio sets TCP_NODELAY on connections of such a listener only, and without that
        # Nagle's algorithm and delayed acknowledgements hold the first event back for 40 ms.
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise _cannot_listen(f"{host}:{port}", error) from None
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(f"{host}:{port}", error) from None
    return listener


def _bind_uds(path: Path) -> socket.socket:
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(str(path), error) from None
    return listener


def _remove_dead(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises BackendError when somebody answers, or it is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BackendError(Code.CONFIG, f"cannot listen on {path}: there is a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot_listen(str(path), error) from None
        else:
            raise BackendError(Code.CONFIG, f"cannot listen on {path}: another server already answers there")


def _cannot_listen(where: str, error: OSError) -> BackendError:
    reason = error.strerror
    match error.errno:
        case errno.EADDRINUSE:
            reason = "another program uses it; choose another port"
        case errno.EACCES:
            reason = "permission denied"
        case errno.EADDRNOTAVAIL:
            reason = "this machine has no such address"
    return BackendError(Code.CONFIG, f"cannot listen on {where}: {reason or error}")


@contextmanager
def _on_signals(stop: Callable[[], None], on_hangup: Callable[[], None] | None) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop`, SIGHUP `on_hangup`; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
        if on_hangup is not None and hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = on_hangup
        for number, handler in handlers.items():
            before = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, handler)
            except NotImplementedError:  # Windows: KeyboardInterrupt ends the loop instead
                continue
            stack.callback(signal.signal, number, before)
            stack.callback(loop.remove_signal_handler, number)
        yield
