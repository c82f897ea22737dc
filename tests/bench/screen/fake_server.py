"""An OpenAI-compatible server that streams the scripted answer on a fixed schedule, in a process of its own.

    python -m tests.bench.screen.fake_server --tokens 2000 --rate 500 --ttft 0.5

It never waits for its client to read, so that a slow client cannot slow the schedule down and hide its own lag. What
happens goes to stdout as JSON lines; `t` is ``time.monotonic()``, one clock for all processes of the machine:

    listening   {port}
    request     {kind, t}         the first byte of a chat request came; kind: main, or warmup
    first       {t}               the first token was written
    marker      {n, t}            marker n was written
    end         {t, slip}         the last token was written; slip: the schedule's worst delay in seconds
    disconnect  {t}               the client went away in the middle of an answer

A question with the word ``warmup`` in it gets a short answer at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from tests.bench.screen.answer import Piece, script

MODEL = "race-model"
FLUSH_EVERY = 0.02
BREATH = 64
"""Tokens that may be written in one go when the schedule is behind; then a disconnect has its chance to be seen."""


def log(event: str, **what: object) -> None:
    """One line on stdout, flushed later: a flush for every token would be the server's largest cost."""
    sys.stdout.write(json.dumps({"event": event, "t": time.monotonic(), **what}) + "\n")


def chunk(data: object) -> bytes:
    """One server-sent event as a chunk of HTTP/1.1's chunked coding."""
    body = b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


def delta(content: dict[str, str], finish: str | None = None) -> bytes:
    """A chunk with a chat completion's delta."""
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return chunk({"id": "race", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]})


class Answer:
    """A script and its frames, encoded before any clock runs."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.frames = [delta({"content": piece.text}) for piece in pieces]


WARM_ANSWER = Answer([Piece("Warm "), Piece("answer.")])


class Connection(asyncio.Protocol):
    """One client's connection; requests come one after another."""

    transport: asyncio.Transport

    def __init__(self, plan: argparse.Namespace, answer: Answer) -> None:
        self._plan, self._answer = plan, answer
        self._buffer = b""
        self._first_byte = 0.0
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's hook; it has switched Nagle's algorithm off."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's hook."""
        if self._task and not self._task.done():
            log("disconnect")
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """asyncio's hook."""
        self._first_byte = time.monotonic() if not self._buffer else self._first_byte
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", 0))
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            self._handle(first, rest[:size])

    def _handle(self, first_line: str, body: bytes) -> None:
        if not first_line.startswith("POST") or "/chat/completions" not in first_line:
            self._reply(
                {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "race"}]}
            )
            return
        request: dict[str, Any] = json.loads(body)
        warm = "warmup" in str(request["messages"][-1]["content"])
        log("request", kind="warmup" if warm else "main", t=self._first_byte)
        self._task = asyncio.get_running_loop().create_task(self._stream(warm))

    def _reply(self, value: object) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    async def _stream(self, warm: bool) -> None:
        begin = time.monotonic() + (0 if warm else self._plan.ttft)
        answer = WARM_ANSWER if warm else self._answer
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode() + delta({"role": "assistant", "content": ""}))
        slip = await self._write_on_time(answer, begin)
        if not warm:
            log("end", slip=slip)
        usage = {"prompt_tokens": 5, "completion_tokens": len(answer.frames)}
        last = {"id": "race", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": []}
        self.transport.write(delta({}, "stop") + chunk(last | {"usage": usage}) + chunk(b"[DONE]") + b"0\r\n\r\n")

    async def _write_on_time(self, answer: Answer, begin: float) -> float:
        """Write every token when it is due; the worst delay in seconds."""
        slip = 0.0
        for index, (piece, frame) in enumerate(zip(answer.pieces, answer.frames, strict=True)):
            due = begin + index / self._plan.rate
            early = due - time.monotonic()
            if early > 0 or index % BREATH == 0:
                await asyncio.sleep(max(0.0, early))
            self.transport.write(frame)
            written = time.monotonic()
            slip = max(slip, written - due)
            if index == 0 and answer is self._answer:
                log("first", t=written)
            if piece.marker is not None:
                log("marker", n=piece.marker, t=written)
        return slip


async def serve(plan: argparse.Namespace) -> None:
    """Serve on a free loopback port until stdin, the harness's end of a pipe, is closed."""
    loop = asyncio.get_running_loop()
    answer = Answer(script(plan.tokens))
    server = await loop.create_server(lambda: Connection(plan, answer), "127.0.0.1", 0)
    log("listening", port=server.sockets[0].getsockname()[1])
    closed = asyncio.Event()
    loop.add_reader(sys.stdin, closed.set)
    while not closed.is_set():
        sys.stdout.flush()
        await asyncio.sleep(FLUSH_EVERY)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="tokens a second")
    parser.add_argument("--ttft", type=float, default=0.5, help="seconds to the first token")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
