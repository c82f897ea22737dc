"""An HTTP/1.1 server on a real socket that says exactly what a script tells it, faults included.

Connection by connection it reads requests and plays a script of raw steps: bytes go out as they are, a `Hold` stops,
a number waits that many seconds, `CUT` resets the connection. What real servers do wrong on the wire can be said here
byte by byte.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from tests.fakes.scripted import Hold


class Fault(Enum):
    """What a script does beside sending: reset the connection, or close it in good order."""

    CUT = auto()
    CLOSE = auto()


CUT, CLOSE = Fault.CUT, Fault.CLOSE

Step = bytes | float | Hold | Fault
Script = Sequence[Step]


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """A running server: where it listens, what it was asked, and how many requests it is answering now."""

    url: str
    answer: Callable[[Request], Script]
    requests: list[Request] = field(default_factory=list)
    answering: int = 0
    connections: int = 0
    disconnects: int = 0


@asynccontextmanager
async def http_server(
    answer: Callable[[Request], Script], uds: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Listen on 127.0.0.1, any free port, or on `uds`; `answer` gives the script for each request."""
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.connections += 1
        try:
            await _converse(server, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # the server ends; asyncio 3.11 reports a connection's task that ends as cancelled
        finally:
            running.discard(task)
            writer.close()

    if uds is not None:
        listener: asyncio.Server = await asyncio.start_unix_server(connected, uds)
        url = f"unix:{uds}"
    else:
        listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    server = Server(url, answer)
    try:
        yield server
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await listener.wait_closed()


async def _converse(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    lead = b""
    while (request := await _read(reader, lead)) is not None:
        server.requests.append(request)
        server.answering += 1
        play = asyncio.create_task(_play(server.answer(request), writer))
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait([play, gone], return_when=asyncio.FIRST_COMPLETED)
            if not play.done() and (gone.exception() or not gone.result()):
                server.disconnects += 1
                return
            if not await play:
                return
            lead = gone.result() if gone.done() and not gone.exception() else b""  # the next request's first byte
        finally:
            server.answering -= 1
            for task in (play, gone):
                task.cancel()
            await asyncio.gather(play, gone, return_exceptions=True)


async def _play(script: Script, writer: asyncio.StreamWriter) -> bool:
    """Play one answer; False when the connection is not to be used again."""
    for step in script:
        if isinstance(step, Hold):
            await step.wait()
        elif isinstance(step, float):
            await asyncio.sleep(step)
        elif step is CUT:
            writer.transport.abort()
            return False
        elif step is CLOSE:
            return False
        elif isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
            await asyncio.sleep(0)
    return True


async def _read(reader: asyncio.StreamReader, lead: bytes) -> Request | None:
    """The next request, whose first bytes `lead` were read before."""
    try:
        head = lead + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def response(
    status: int = 200, content_type: str = "application/json", body: bytes = b"", headers: Sequence[str] = ()
) -> bytes:
    """A whole response with its length told."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def event_stream(*pieces: Step, content_type: str = "text/event-stream", end: bool = True) -> list[Step]:
    """A 200 whose body is `pieces`, each a chunk of its own; without `end` the last chunk is never said."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    steps: list[Step] = [head]
    steps += [_chunk(piece) if isinstance(piece, bytes) else piece for piece in pieces]
    return [*steps, b"0\r\n\r\n"] if end else steps


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
