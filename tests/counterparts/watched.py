"""Servers that tell when a client has gone, on the machine's monotonic clock, which all its processes share.

Run as ``python -m tests.counterparts.watched openai|serve``: a chat completions endpoint that speaks its wire form by
hand, or our own `serve` around a backend. Each line that it prints is a JSON object: ``url`` first; ``begun`` with its
number when a request is being answered; ``gone``, with the time, when its client is not there any more. Answers never
end by themselves; a question with the word "silent" gets no token, as in a long prefill.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from backends.backend import ChatRequest
from backends.events import Event, Meta, Status, Token
from tests.fakes.openai_server import chunk

SILENT = "silent"
EVERY = 0.01
"""Seconds between two tokens."""


class Watched:
    """Such a server as a child process, seen from outside."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._process = process

    async def begun(self) -> int:
        """The number of the next request, once it is being answered."""
        while "begun" not in (told := await self._told()):
            pass
        return int(told["begun"])

    async def gone(self, number: int) -> float:
        """When the client of request `number` went, in seconds of `time.monotonic()`."""
        while (told := await self._told()).get("gone") != number:
            pass
        return float(told["at"])

    async def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return told


@asynccontextmanager
async def watched(kind: str) -> AsyncIterator[Watched]:
    """A server of that `kind`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.counterparts.watched", kind, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield Watched(json.loads(await process.stdout.readline())["url"], process)
    finally:
        process.kill()
        await process.communicate()


_numbers = itertools.count()


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def _openai() -> None:
    """Each connection has one request; its end is seen by a read that is always pending."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if head.startswith("get"):
                body = b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"test"}]}'
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body))
                writer.write(b"content-type: application/json\r\n\r\n" + body)
                await writer.drain()
            else:
                body = await _body(reader, head)
                number = next(_numbers)
                _tell(begun=number)
                talking = asyncio.create_task(_talk(writer, silent=SILENT.encode() in body))
                try:
                    while await reader.read(65_536):
                        pass
                finally:  # in good order or by a reset
                    _tell(gone=number, at=time.monotonic())
                    talking.cancel()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    _tell(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()


async def _body(reader: asyncio.StreamReader, head: str) -> bytes:
    if "content-length:" in head:
        return await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


async def _talk(writer: asyncio.StreamWriter, silent: bool) -> None:
    with suppress(ConnectionError):
        if silent:
            await asyncio.Event().wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(chunk({"content": "word "}))
            await writer.drain()
            await asyncio.sleep(EVERY)


class _Talkative:
    """A Backend that tells when its stream is closed."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        number = next(_numbers)
        _tell(begun=number)
        try:
            yield Meta("m")
            if SILENT in request.messages[-1].content:
                yield Status("prefilling")
                await asyncio.Event().wait()
            while True:
                yield Token("word ")
                await asyncio.sleep(EVERY)
        finally:
            _tell(gone=number, at=time.monotonic())

    async def warm(self, request: ChatRequest) -> None:
        return None

    async def aclose(self) -> None:
        return None


async def _serve() -> None:
    from backends.serve import serve

    await serve(_Talkative(), on_started=lambda url: _tell(url=url))


if __name__ == "__main__":
    asyncio.run(_openai() if sys.argv[1] == "openai" else _serve())
