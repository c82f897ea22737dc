"""Finds the model servers that run on this machine, by the ports that they choose by themselves."""

from __future__ import annotations

import asyncio

import msgspec

from backends.errors import BackendError
from backends.foreign.dialect import UNKNOWN, Dialect
from backends.foreign.probe import ask
from backends.sse.address import Address

PORTS = (11434, 8080, 1234, 8000, 30000)
"""Ollama; llama-server and `llmchat serve`; LM Studio; vLLM; SGLang."""

WAIT = 1.0
"""Seconds that each is given to answer: it is on this machine."""


class Found(msgspec.Struct, frozen=True):
    """A server on loopback."""

    url: str
    dialect: Dialect


async def find(ports: tuple[int, ...] = PORTS) -> list[Found]:
    """The servers on `ports` that can be talked to, in that order. No key and no text goes out."""
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_found(url)) for url in urls]
    return [found for task in tasks if (found := task.result()) is not None]


async def _found(url: str) -> Found | None:
    try:
        dialect = await ask(Address(url), WAIT)
    except BackendError:
        return None
    return Found(url, dialect) if dialect != UNKNOWN else None
