"""Which of a host's addresses is taken."""

from __future__ import annotations

import asyncio
import socket

import pytest

from backends.sse import lookup
from backends.sse.lookup import addresses_of, first_of, is_address


class Host:
    """Addresses that answer ("ok"), refuse ("no"), or say nothing before they are released ("slow")."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.dropped: list[str] = []
        self.release = asyncio.Event()

    async def connect(self, address: str) -> str:
        self.tried.append(address)
        if address.startswith("no"):
            raise ConnectionRefusedError(address)
        if address.startswith("slow"):
            await self.release.wait()
        return address

    async def drop(self, connection: str) -> None:
        self.dropped.append(connection)

    async def first(self, *addresses: str) -> str:
        async with asyncio.timeout(20):
            return await first_of(addresses, self.connect, self.drop)


async def test_the_first_that_answers() -> None:
    host = Host()
    assert await host.first("ok 1", "ok 2") == "ok 1"
    assert host.tried == ["ok 1"]


async def test_one_that_refuses_is_passed_over_at_once() -> None:
    host = Host()
    assert await host.first("no 1", "ok 2") == "ok 2"


async def test_one_that_says_nothing_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "NEXT_AFTER", 0.01)
    host = Host()
    assert await host.first("slow 1", "no 2", "ok 3") == "ok 3"
    assert host.dropped == []


async def test_one_that_comes_too_late_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "NEXT_AFTER", 0.01)
    host = Host()
    asyncio.get_running_loop().call_later(0.1, host.release.set)
    assert await host.first("slow 1", "slow 2") == "slow 1"
    assert host.dropped == ["slow 2"]


async def test_where_nobody_answers_the_first_error_is_told() -> None:
    with pytest.raises(ConnectionRefusedError, match="no 1"):
        await Host().first("no 1", "no 2")


async def test_giving_up_leaves_nothing_behind() -> None:
    host = Host()
    waiting = asyncio.create_task(host.first("slow 1"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_the_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        found = ["::1", "::2", "10.0.0.1", "::1"]
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 80)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    assert await addresses_of("host", 80) == ["::1", "10.0.0.1", "::2"]


@pytest.mark.parametrize(
    ("host", "is_one"), [("127.0.0.1", True), ("::1", True), ("localhost", False), ("1.2.3", False)]
)
def test_what_needs_no_looking_up(host: str, is_one: bool) -> None:
    assert is_address(host) is is_one
