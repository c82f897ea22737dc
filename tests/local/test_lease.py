"""Leases at both ends of a real socket, without an engine behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.errors import BackendError, Code
from backends.local.lease import Lease
from backends.local.spec import Endpoint
from backends.serve.app import create_app
from backends.serve.guard import Access
from backends.serve.lease import Leases
from backends.serve.server import listening
from tests.fakes.echo import Echo

PATIENCE = 20.0


@asynccontextmanager
async def granting(leases: Leases) -> AsyncIterator[Endpoint]:
    app = create_app(Echo(), access=Access("secret"))
    app.router.routes.append(leases.route)
    async with listening(app, grace=0.1) as url:
        yield Endpoint(1, url, "", "secret")


async def over(leases: Leases) -> None:
    await asyncio.wait_for(leases.over.wait(), PATIENCE)


async def test_it_is_over_after_the_last_lease() -> None:
    leases = Leases(grace=0.05, first_lease=PATIENCE)
    async with granting(leases) as endpoint:
        leases.start()
        one, two = await Lease.take(endpoint), await Lease.take(endpoint)
        one.drop()
        await asyncio.sleep(0.3)  # many times the grace
        assert not leases.over.is_set()
        two.drop()
        await over(leases)


async def test_a_lease_within_the_grace_goes_on() -> None:
    leases = Leases(grace=0.3, first_lease=PATIENCE)
    async with granting(leases) as endpoint:
        (await Lease.take(endpoint)).drop()
        lease = await Lease.take(endpoint)
        await asyncio.sleep(0.6)
        assert not leases.over.is_set()
        lease.drop()
        await over(leases)


async def test_it_is_over_when_nobody_comes() -> None:
    leases = Leases(grace=PATIENCE, first_lease=0.05)
    leases.start()
    await over(leases)


async def test_its_end_is_seen_by_those_who_hold_one() -> None:
    leases = Leases(grace=PATIENCE, first_lease=PATIENCE)
    async with granting(leases) as endpoint:
        lease = await Lease.take(endpoint)
        assert not lease.lost.done()
        leases.end()
    await asyncio.wait_for(lease.lost, PATIENCE)


async def test_none_is_granted_by_one_that_has_ended_or_is_of_no_use() -> None:
    leases = Leases(grace=PATIENCE, first_lease=PATIENCE)
    async with granting(leases) as endpoint:
        held = await Lease.take(endpoint)
        leases.grant_while(lambda: False)
        with pytest.raises(BackendError, match="HTTP 503"):
            await Lease.take(endpoint)
        assert not held.lost.done()
        leases.grant_while(lambda: True)
        (await Lease.take(endpoint)).drop()
        leases.end()
        with pytest.raises(BackendError, match="grants no lease"):
            await Lease.take(endpoint)
        held.drop()


async def test_the_token_is_asked_for() -> None:
    async with granting(Leases(1.0, 1.0)) as endpoint:
        with pytest.raises(BackendError, match="HTTP 401"):
            await Lease.take(Endpoint(1, endpoint.url, "", "wrong"))


async def test_nobody_there() -> None:
    with pytest.raises(BackendError) as caught:
        await Lease.take(Endpoint(1, "http://127.0.0.1:1", "", ""))
    assert caught.value.code == Code.CONNECT


async def test_one_that_closes_or_does_not_speak_http() -> None:
    answers = [b"x" * 20_000, b"220 mail\r\n", b""]

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        while answers:
            with pytest.raises(BackendError, match="grants no lease"):
                await Lease.take(Endpoint(1, f"http://127.0.0.1:{port}", "", ""))
