"""What reading a stream costs: µs of CPU for each event, from the socket to the `Event`, at several rates.

Run as ``python -m tests.bench.stream``. A process of its own sends every event as one chunk, on a fixed schedule. The
floor is httpx with `json.loads`, which knows nothing of limits, dialects, times or endings. Only ratios within one run
mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable

import httpx
import msgspec

from backends.backend import ChatRequest, Message
from backends.events import Done, Event, Token, encode, name
from backends.providers.native import Native
from backends.providers.openai import OpenAI, Options
from backends.telemetry.timeline import Timeline

RATES = (100, 500, 2_000)
SECONDS = 3
REQUEST = ChatRequest((Message("user", "go on"),))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DELTA = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
FLOOR = "httpx + json"


class Server(asyncio.Protocol):
    """Streams `SECONDS` of an answer in either dialect, at the rate that the `model` of the request names."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        if ended and body.endswith(b"}"):
            self._received = b""
            frames = _native if b"/v1/chat " in head else _openai
            self._task = asyncio.create_task(self._stream(frames, int(json.loads(body)["model"])))

    async def _stream(self, frame: Callable[[Event], bytes], rate: int) -> None:
        self._transport.write(HEAD)
        begin = time.monotonic()
        for index in range(rate * SECONDS):
            if (early := begin + index / rate - time.monotonic()) > 0:
                await asyncio.sleep(early)
            self._transport.write(frame(Token(f"word {index} ")))
        self._transport.write(frame(Done(rate * SECONDS, 0.0)) + b"0\r\n\r\n")


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def _native(event: Event) -> bytes:
    return _chunk(b"event: %s\ndata: %s\n\n" % (name(event).encode(), encode(event)))


def _openai(event: Event) -> bytes:
    if not isinstance(event, Token):
        return _chunk(b"data: [DONE]\n\n")
    choice = {"index": 0, "delta": {"content": event.text}, "finish_reason": None}
    return _chunk(b"data: %s\n\n" % json.dumps({**DELTA, "choices": [choice]}).encode())


async def floor(url: str, rate: int) -> int:
    """httpx and json alone."""
    count = 0
    body = {"model": str(rate)}
    async with httpx.AsyncClient() as client, client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                count += bool(json.loads(line[6:])["choices"][0]["delta"]["content"])
    return count


async def read(events: AsyncIterator[Event]) -> int:
    """As the chat does: every event is stamped on a timeline."""
    timeline, count, begin = Timeline(), 0, time.monotonic()
    async for event in events:
        timeline.add(event, 1000 * (time.monotonic() - begin))
        count += isinstance(event, Token)
    return count


async def measured(client: str, url: str, rate: int) -> float:
    """µs of CPU for each event."""
    request = msgspec.structs.replace(REQUEST, model=str(rate))
    backend = Native(url) if client == "native" else OpenAI(Options(url=url))
    began = time.process_time()
    count = await (floor(url, rate) if client == FLOOR else read(backend.stream(request)))
    took = time.process_time() - began
    await backend.aclose()
    if count != rate * SECONDS:
        raise RuntimeError(f"{client} has read {count} of {rate * SECONDS} events")
    return 1e6 * took / count


async def serve() -> None:
    """Until stdin is closed."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        asyncio.run(serve())
        return
    command = [sys.executable, "-m", "tests.bench.stream", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        print(f"{'µs an event':14}" + "".join(f"{rate:>8,}/s" for rate in RATES))
        for client in (FLOOR, "openai", "native"):
            costs = [asyncio.run(measured(client, url, rate)) for rate in RATES]
            print(f"{client:14}" + "".join(f"{cost:10.0f}" for cost in costs))
        server.stdin.close()


if __name__ == "__main__":
    main()
