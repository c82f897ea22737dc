"""An OpenAI-compatible server that keeps to a schedule, and writes down what passed.

On stdout its port; once stdin is closed, the record. Times are on the clock that all processes of a machine share
(`time.perf_counter` is CLOCK_MONOTONIC on Linux). A request's number is told as its `prompt_tokens`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time

import msgspec

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_MODELS = json.dumps({"object": "list", "data": [{"id": "paced", "object": "model", "owned_by": "bench"}]}).encode()


class Pace(msgspec.Struct, frozen=True):
    """Milliseconds: the first token comes within `first`, the others so far apart; drawn for each request.

    After `cycle` requests the same are drawn again.
    """

    first: tuple[float, float] = (300.0, 700.0)
    gap: tuple[float, float] = (40.0, 60.0)
    tokens: int = 50
    cycle: int = 10_000


class Passed(msgspec.Struct):
    """One request, in seconds on the shared clock: when it was here whole, and when its first and last token left."""

    received: float
    first: float = 0.0
    last: float = 0.0


class _Connection(asyncio.Protocol):
    def __init__(self, pace: Pace, record: list[Passed]) -> None:
        self._pace = pace
        self._record = record
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ended, body = self._buffer.partition(b"\r\n\r\n")
        if not ended:
            return
        if head.startswith(b"GET"):
            self._buffer = b""
            length = b"Content-Length: %d" % len(_MODELS)
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s\r\n\r\n" % length + _MODELS)
        elif len(body) >= _length(head):
            self._buffer = b""
            self._answer(time.perf_counter())

    def _answer(self, received: float) -> None:
        passed = Passed(received)
        number = len(self._record)
        self._record.append(passed)
        rng = random.Random(number % self._pace.cycle)
        first, gap = rng.uniform(*self._pace.first) / 1000, rng.uniform(*self._pace.gap) / 1000
        begin = asyncio.get_running_loop().time() + first
        self._transport.write(_HEAD)
        self._send(number, passed, begin, gap, 0)

    def _send(self, number: int, passed: Passed, begin: float, gap: float, index: int) -> None:
        """Wait for the next token's time; those before it are out."""
        loop = asyncio.get_running_loop()
        loop.call_at(begin + gap * index, self._token, number, passed, begin, gap, index)

    def _token(self, number: int, passed: Passed, begin: float, gap: float, index: int) -> None:
        passed.last = time.perf_counter()
        if index == 0:
            passed.first = passed.last
            self._transport.write(_chunk({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
        self._transport.write(_TOKEN)
        if index + 1 < self._pace.tokens:
            self._send(number, passed, begin, gap, index + 1)
            return
        usage = {"prompt_tokens": number, "completion_tokens": index + 1, "total_tokens": number + index + 1}
        end = _chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
        self._transport.write(end + _chunk({"choices": [], "usage": usage}) + _frame(b"[DONE]") + b"0\r\n\r\n")


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


def _frame(data: bytes) -> bytes:
    event = b"data: %s\n\n" % data
    return b"%x\r\n%s\r\n" % (len(event), event)


def _chunk(more: dict[str, object]) -> bytes:
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "paced"}
    return _frame(json.dumps(head | more).encode())


_TOKEN = _chunk({"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]})


async def serve(pace: Pace) -> list[Passed]:
    """Until stdin is closed."""
    record: list[Passed] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(pace, record), "127.0.0.1", 0, backlog=1_000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    return record


if __name__ == "__main__":
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Pace)))))
