"""A host's addresses, and the first of them that answers ("happy eyeballs", RFC 8305).

asyncio's own way of doing both does not tell how long the name took.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

NEXT_AFTER = 0.25
"""Seconds after which a host's next address is tried beside those that have not answered (RFC 8305, section 5)."""


def is_address(host: str) -> bool:
    """Whether `host` needs no look-up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            return bool(socket.inet_pton(family, host))
    return False


async def addresses_of(host: str, port: int) -> list[str]:
    """The addresses of `host`, IPv6 and IPv4 in turn, beginning with the resolver's first. Raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _alternating([str(address[0]) for *_, address in found])


async def first_of(
    addresses: Sequence[str], connect: Callable[[str], Awaitable[T]], drop: Callable[[T], Awaitable[None]]
) -> T:
    """The first connection that `connect` makes to one of `addresses`; one that comes too late is given to `drop`.

    Raises the error of the first address where none can be had.
    """
    tries: list[asyncio.Task[T]] = []
    try:
        for address in addresses:
            tries.append(asyncio.create_task(_await(connect(address)), name=f"connect to {address}"))
            await _until_one_is_done(tries, NEXT_AFTER)
            if _won(tries):
                break
        while not _won(tries) and await _until_one_is_done(tries, None):
            pass
        return (_won(tries) or tries)[0].result()
    finally:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
        for task in _won(tries)[1:]:
            await drop(task.result())


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _until_one_is_done(tries: list[asyncio.Task[T]], seconds: float | None) -> bool:
    """False where all are."""
    running = [task for task in tries if not task.done()]
    if running:
        await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return bool(running)


def _won(tries: list[asyncio.Task[T]]) -> list[asyncio.Task[T]]:
    return [task for task in tries if task.done() and not task.cancelled() and task.exception() is None]


def _alternating(addresses: Sequence[str]) -> list[str]:
    first = ":" in addresses[0]
    kinds: list[list[Any]] = [
        [it for it in dict.fromkeys(addresses) if (":" in it) is kind] for kind in (first, not first)
    ]
    return [it for pair in itertools.zip_longest(*kinds) for it in pair if it is not None]
