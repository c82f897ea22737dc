"""One child for all who want the same, for as long as anybody does: with clients in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from backends.errors import BackendError
from backends.events import Done
from backends.local.launcher import Settings
from backends.local.lease import Lease
from backends.local.log_file import LogFile
from backends.local.process import Process
from backends.local.spec import Spec, Start, key
from backends.providers.local import Local
from tests.local.conftest import PATIENCE, is_running, wait_until
from tests.local.talk import answer, child, endpoints

OpenLocal = Callable[..., Local]
Client = asyncio.subprocess.Process

SCRIPT = Path(__file__).with_name("client_process.py")


@pytest.fixture
async def start_client(spec: Spec, settings: Settings) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Starts clients; what is left of them at the end is killed."""
    clients: list[Client] = []
    words = [
        msgspec.json.encode(spec).decode(),
        msgspec.json.encode(settings, enc_hook=str).decode(),
    ]

    async def start() -> Client:
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), *words, stdin=pipe, stdout=pipe, start_new_session=True
        )
        clients.append(client)
        return client

    yield start
    for client in clients:
        if client.returncode is None:
            client.kill()
        await client.communicate()


async def its_child(client: Client) -> int:
    assert client.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return int(await client.stdout.readline())


async def test_racing_starters_get_one_child(start_client: Callable[[], Awaitable[Client]], settings: Settings) -> None:
    clients = [await start_client() for _ in range(4)]
    assert {await its_child(client) for client in clients} == {child(settings)}


async def test_the_child_outlives_its_parent_while_another_client_holds_it(
    start_client: Callable[[], Awaitable[Client]], open_local: OpenLocal, settings: Settings
) -> None:
    parent = await start_client()
    pid = await its_child(parent)
    local = open_local()
    await answer(local)
    assert child(settings) == pid
    parent.kill()
    await parent.wait()
    await asyncio.sleep(4 * settings.grace)
    assert is_running(pid)
    assert isinstance((await answer(local))[-1], Done)
    await local.aclose()
    await asyncio.to_thread(wait_until, lambda: not is_running(pid), "the child to end after its last client")


async def test_a_killed_client_takes_its_child_along(start_client: Callable[[], Awaitable[Client]]) -> None:
    client = await start_client()
    pid = await its_child(client)
    assert is_running(pid)
    client.kill()
    await asyncio.to_thread(wait_until, lambda: not is_running(pid), "the child to end")


async def test_ctrl_c_reaches_the_client_only(start_client: Callable[[], Awaitable[Client]]) -> None:
    client = await start_client()
    pid = await its_child(client)
    os.killpg(client.pid, signal.SIGINT)  # what a terminal does; the client is its own session here
    assert os.getsid(pid) == pid
    await asyncio.wait_for(client.wait(), PATIENCE)
    await asyncio.to_thread(wait_until, lambda: not is_running(pid), "the child to end after its client")


async def test_other_settings_are_another_child(open_local: OpenLocal, spec: Spec, settings: Settings) -> None:
    other = msgspec.structs.replace(spec, engine=msgspec.structs.replace(spec.engine, max_streams=2))
    await answer(open_local())
    await answer(open_local(other))
    assert len(endpoints(settings)) == 2


async def test_what_a_dead_child_left_is_cleared(open_local: OpenLocal, spec: Spec, settings: Settings) -> None:
    process = await started(spec, settings)
    process.kill()
    await process.obituary()
    assert settings.folder is not None
    left = set(settings.folder.iterdir())
    assert {path.suffix for path in left} == {".json", ".sock"}
    (settings.folder / f"{key(spec)}.lock").touch()  # a holder that was killed leaves its file too
    assert isinstance((await answer(open_local()))[-1], Done)
    assert not {path for path in left if path.suffix == ".sock"} & set(settings.folder.iterdir())
    assert not list(settings.folder.glob("*.lock"))


async def test_a_child_that_nobody_leases_ends(spec: Spec, settings: Settings) -> None:
    process = await started(spec, msgspec.structs.replace(settings, first_lease=0.2))
    await asyncio.to_thread(wait_until, lambda: not is_running(process.pid), "the child to end")


async def test_a_child_whose_starter_died_ends(spec: Spec, settings: Settings) -> None:
    """Killed between start and handshake: the child finds nobody to tell its address to."""
    start = Start(spec, key(spec), str(settings.folder))
    pipe = asyncio.subprocess.PIPE
    reader, writer = os.pipe()
    os.close(reader)
    orphan = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backends.serve.child", stdin=pipe, stdout=writer, stderr=asyncio.subprocess.DEVNULL
    )
    os.close(writer)
    async with asyncio.timeout(PATIENCE):
        await orphan.communicate(msgspec.json.encode(start))
    assert orphan.returncode == 0
    assert endpoints(settings) == []


async def test_the_grace_bridges_two_clients(open_local: OpenLocal, settings: Settings) -> None:
    patient = msgspec.structs.replace(settings, grace=5.0)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(closing(open_local(how=patient)))
        await answer(first)
        pid = child(settings)
    await answer(open_local(how=patient))
    assert child(settings) == pid


async def test_an_ending_child_grants_no_lease(spec: Spec, settings: Settings) -> None:
    process = await started(spec, msgspec.structs.replace(settings, first_lease=0.2))
    (endpoint,) = endpoints(settings)
    await asyncio.to_thread(wait_until, lambda: not is_running(process.pid), "the child to end")
    with pytest.raises(BackendError, match="grants no lease"):
        await Lease.take(endpoint)


async def started(spec: Spec, settings: Settings) -> Process:
    """A child that answers and has no lease yet."""
    start = Start(spec, key(spec), str(settings.folder), settings.transport, settings.grace, settings.first_lease)
    assert settings.logs is not None
    process = Process.start(start, LogFile(settings.logs, start.key))
    await process.greet()
    return process


@asynccontextmanager
async def closing(local: Local) -> AsyncIterator[Local]:
    try:
        yield local
    finally:
        await local.aclose()
