"""A server that delays every stage as planned, behind a relay that delays the ways there and back.

What really passed is written down by both, on the clock that all processes of a machine share (`time.monotonic`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import msgspec

from backends.backend import ChatRequest
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.serve.app import create_app
from backends.serve.server import listening
from backends.telemetry.stages import Span, Stage
from backends.telemetry.timeline import STAGE_OF
from tests.bench.account.plan import Plan

_STATUS = {stage: status for status, stage in STAGE_OF.items()}
_RUN = re.compile(rb"run (\d+)\.")


class Passed(msgspec.Struct):
    """What really took place in one run: stages in milliseconds, and the moments at which the first token and the last
    event left the relay for the client, in seconds on `time.monotonic`."""

    stages: dict[Stage, float] = {}
    way_there: float = 0.0
    way_back: float = 0.0
    first_token: float = 0.0
    end: float = 0.0


Record = defaultdict[int, Passed]


class Delayed:
    """A Backend that does nothing but take its time."""

    def __init__(self, plans: Sequence[Plan], record: Record) -> None:
        self._plans = plans
        self._record = record

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Play the plan that the question names."""
        found = _RUN.search(request.messages[-1].content.encode())
        assert found
        plan = self._plans[int(found[1])]
        begun = time.monotonic()
        marks: dict[float, float] = {}
        for mark in sorted({0.0, *(span.offset for span in plan.spans), *(span.end for span in plan.spans)}):
            marks[mark] = await _reach(begun, mark)
            for span in plan.spans:
                if span.offset == mark:
                    yield Status(_STATUS[span.stage])
        spans = [Span(span.stage, marks[span.offset], marks[span.end] - marks[span.offset]) for span in plan.spans]
        yield Meta("slow", _ms(begun), spans=tuple(spans) if plan.told else ())
        first = _ms(begun)
        yield Token("0")
        for number, gap in enumerate(plan.gaps, 1):
            await asyncio.sleep(gap / 1000)
            yield Token(f" {number}")
        generation = Span("total_generation", first, _ms(begun) - first)
        yield Meta(latency=_ms(begun), spans=(generation,) if plan.told else ())
        self._record[plan.number].stages = {span.stage: span.duration for span in (*spans, generation)}
        yield Done(1 + len(plan.gaps), _ms(begun))

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """Nothing to warm."""
        return None

    async def aclose(self) -> None:
        """Nothing to close."""


async def _reach(begun: float, mark: float) -> float:
    """Wait until `mark` milliseconds after `begun`; how many it really are."""
    await asyncio.sleep(max(0.0, mark / 1000 - (time.monotonic() - begun)))
    return _ms(begun)


def _ms(begun: float) -> float:
    return 1000 * (time.monotonic() - begun)


class Relay:
    """Passes on what comes after the delays of the plan that the connection's newest request names."""

    def __init__(self, upstream: str, plans: Sequence[Plan], record: Record) -> None:
        self._upstream = urlsplit(upstream)
        self._plans = plans
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        running: list[Plan] = []
        with suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._there(reader, up_writer, running))
                group.create_task(self._back(up_reader, writer, running))
        writer.close()
        up_writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, running: list[Plan]) -> None:
        request = b""
        while data := await reader.read(65_536):
            came = time.monotonic()
            request += data
            if not (found := _RUN.search(request)):
                continue
            plan = self._plans[int(found[1])]
            running[:] = [plan]
            self._record[plan.number] = Passed()
            await asyncio.sleep(plan.way_there / 1000)
            writer.write(request)
            self._record[plan.number].way_there = _ms(came)
            request = b""
        writer.write_eof()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, running: list[Plan]) -> None:
        """Every piece as much later as planned, those behind it not delayed by its waiting."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(self._send(late, writer, running))
            while data := await reader.read(65_536):
                late.put_nowait((time.monotonic(), data))
            late.put_nowait((time.monotonic(), b""))
            await sender

    async def _send(
        self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, running: list[Plan]
    ) -> None:
        while True:
            came, data = await late.get()
            if not data:
                return
            plan = running[0]
            await asyncio.sleep(max(0.0, plan.way_back / 1000 - (time.monotonic() - came)))
            passed = self._record[plan.number]
            if not passed.first_token and b"event: token" in data:
                passed.first_token, passed.way_back = time.monotonic(), _ms(came)
            if b"event: done" in data:
                passed.end = time.monotonic()
            writer.write(data)


@asynccontextmanager
async def slow_server(plans: Sequence[Plan], record: Record) -> AsyncIterator[str]:
    """The relay's address; `record` fills with what passed."""
    async with listening(create_app(Delayed(plans, record)), grace=0.1) as upstream:
        relay = Relay(upstream, plans, record)
        listener = await asyncio.start_server(relay.connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            await relay.close()
            await listener.wait_closed()
