"""Clients of a chat completions endpoint on bare sockets: some read at once, some slowly, some go away halfway."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["quick", "slow", "leaving"]

SIP = 256
"""Bytes that a slow reader takes at a time."""


@dataclass
class Tally:
    """How requests ended, by kind and end ("done", "error", "refused 503", "left", "corrupt"); first events in ms."""

    ends: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    first_ms: list[float] = field(default_factory=list)

    def count(self, end: str) -> int:
        """Requests that ended so, of whatever kind."""
        return sum(number for (_, each), number in self.ends.items() if each == end)


@dataclass(frozen=True)
class Crowd:
    """Who asks what: `body` is the request's JSON, `nap` what a slow reader sleeps between sips, in seconds."""

    port: int
    body: dict[str, object]
    nap: float = 0.05

    async def ask(self, kind: Kind, tally: Tally, dice: random.Random) -> None:
        """One request on a connection of its own."""
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024 if kind == "slow" else 65_536)
        try:
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status != 200:
                tally.ends[kind, f"refused {status}"] += 1
                return
            patience = dice.randrange(1, 6000) if kind == "leaving" else None
            end = await self._read(reader, kind, patience, lambda: tally.first_ms.append(_ms_since(began)))
            tally.ends[kind, end] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.ends[kind, "broken"] += 1
        finally:
            writer.transport.abort()

    def _request(self) -> bytes:
        body = json.dumps(self.body | {"stream": True}).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    async def _read(
        self, reader: asyncio.StreamReader, kind: Kind, patience: int | None, on_first: Callable[[], None]
    ) -> str:
        """The rest of the response, and how it ended."""
        tail, seen, begun = b"", 0, False
        while piece := await reader.read(SIP if kind == "slow" else 65_536):
            if not begun and b"data:" in piece:
                begun = True
                on_first()
            tail, seen = (tail + piece)[-200:], seen + len(piece)
            if patience is not None and seen >= patience:
                return "left"
            if kind == "slow":
                await asyncio.sleep(self.nap)
        if b"data: [DONE]" in tail:
            return "done"
        return "error" if b'"error"' in tail else "corrupt"


def kinds(count: int) -> list[Kind]:
    """Half of `count` slow, a quarter leaving, the rest quick."""
    slow, leaving = count // 2, count // 4
    return ["slow"] * slow + ["leaving"] * leaving + ["quick"] * (count - slow - leaving)


async def keep_asking(crowd: Crowd, count: int, until: float, seed: int = 0) -> Tally:
    """`count` clients, each asking again until `until` (`time.perf_counter()`), at least once."""
    tally = Tally()

    async def client(kind: Kind, number: int) -> None:
        dice = random.Random(seed * 10_000 + number)
        while True:
            await crowd.ask(kind, tally, dice)
            if time.perf_counter() >= until:
                return
            await asyncio.sleep(0.05 * dice.random())

    async with asyncio.TaskGroup() as group:
        for number, kind in enumerate(kinds(count)):
            group.create_task(client(kind, number))
    return tally


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
