"""Another backend in the place of the one that serves; running streams stay where they are."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from backends.backend import Backend
from backends.config import Serve
from backends.errors import ConfigError
from backends.events import Token
from backends.serve import serve
from backends.serve.app import Public
from backends.serve.guard import Access
from backends.serve.models import Models
from backends.serve.reload import Reopened
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import CHAT, PATIENCE, eventually


@asynccontextmanager
async def serving(
    first: Backend, reopen: Callable[[], Reopened], settings: Serve | None = None, **client: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, which has ended behind the block."""
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    public = Public(Models("before"))
    task = asyncio.create_task(serve(first, settings, public=public, on_started=started.set_result, reopen=reopen))
    url = await asyncio.wait_for(started, PATIENCE)
    try:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False, **client) as http:
            yield http
    finally:
        task.cancel()
        await asyncio.wait([task])


def now(backend: Backend, settings: Serve | None = None, access: Access | None = None) -> Reopened:
    """What a configuration says that has been read again."""
    return Reopened(lambda: backend, settings or Serve(), access or Access(), Models("after"))


async def ask(http: httpx.AsyncClient) -> str:
    """The whole stream."""
    return (await http.post("/v1/chat", json=CHAT)).text


async def test_on_sighup_new_requests_go_to_the_new_one() -> None:
    hold = Hold()
    first, second, third = (
        Scripted(hold, *answer("first")),
        Scripted(hold, *answer("second")),
        Scripted(*answer("third")),
    )
    following: list[Backend] = [second, third]
    async with serving(first, lambda: now(following.pop(0), Serve(max_messages=1))) as http:
        running = asyncio.create_task(ask(http))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: following == [third])
        beside = asyncio.create_task(ask(http))
        await eventually(lambda: second.streaming == 1)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: following == [])
        assert "third" in await ask(http)
        two = {"messages": CHAT["messages"] * 2}
        assert (await http.post("/v1/chat", json=two)).status_code == 413
        assert (first.streaming, second.streaming, second.closed) == (1, 1, False)
        hold.release()
        assert "first" in await running
        assert "second" in await beside
        await eventually(lambda: second.closed)
        await eventually(lambda: first.closed)
        assert not third.closed
    assert third.closed


async def test_silence_is_filled_as_often_as_it_is_said_now() -> None:
    second = Scripted(Hold(), *answer("next"))
    often, hardly = Serve(ping_interval=0.01), Serve(ping_interval=3600)
    async with serving(Scripted(*answer("first")), lambda: now(second, often), hardly) as http:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while not second.requests:
                async with http.stream("POST", "/v1/chat", json=CHAT) as response:
                    async for line in response.aiter_lines():
                        if line.startswith(":"):
                            break


async def test_a_configuration_that_is_wrong_changes_nothing() -> None:
    tried = 0

    def reopen() -> Reopened:
        nonlocal tried
        tried += 1
        raise ConfigError("a wrong key")

    async with serving(Scripted(Token("still "), *answer("here")), reopen) as http:
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: tried == 1)
        assert "here" in await ask(http)


async def test_clients_pages_and_names_are_those_of_now() -> None:
    access = Access("sesame", hosts=frozenset({"new.lan"}), origins=frozenset({"https://page.example"}))
    page, by_name = {"origin": "https://page.example"}, {"host": "new.lan"}
    preflight = page | {"access-control-request-method": "POST"}
    async with serving(Scripted(*answer("first")), lambda: now(Scripted(*answer("next")), access=access)) as http:
        assert (await http.post("/v1/chat", json=CHAT, headers=page)).status_code == 403
        assert (await http.post("/v1/chat", json=CHAT, headers=by_name)).status_code == 403
        assert (await http.options("/v1/chat", headers=preflight)).status_code == 403
        os.kill(os.getpid(), signal.SIGHUP)
        allowed = {"authorization": "Bearer sesame"}
        while (await http.post("/v1/chat", json=CHAT)).status_code != 401:
            pass
        there = await http.post("/v1/chat", json=CHAT, headers=allowed | page)
        assert (there.status_code, there.headers["access-control-allow-origin"]) == (200, "https://page.example")
        assert (await http.options("/v1/chat", headers=preflight)).status_code == 200
        assert (await http.post("/v1/chat", json=CHAT, headers=allowed | by_name)).status_code == 200
        models = (await http.get("/v1/models", headers=allowed)).json()
        assert [model["id"] for model in models["data"]] == ["after"]


async def test_new_connections_get_the_new_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of another kind of key even; one that cannot be read changes nothing."""
    files = [tmp_path / name for name in ("rsa.pem", "ecdsa.pem", "broken.pem")]
    for file, kind in zip(files, (trustme.KeyType.RSA, trustme.KeyType.ECDSA), strict=False):
        trustme.CA().issue_cert("localhost", "127.0.0.1", key_type=kind).private_key_and_cert_chain_pem.write_to_path(
            str(file)
        )
    files[2].write_text("no certificate")
    rsa, ecdsa, broken = (Serve(tls_cert=str(file)) for file in files)
    following = [now(Scripted(*answer("next")), settings) for settings in (broken, ecdsa)]
    hold = Hold()
    async with serving(Scripted(hold, *answer("first")), lambda: following.pop(0), rsa, verify=False) as http:
        running = asyncio.create_task(ask(http))
        await asyncio.wait_for(hold.reached.wait(), PATIENCE)
        before = await shown(http)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: "broken.pem" in caplog.text)
        assert await shown(http) == before
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: following == [])
        while await shown(http) == before:
            pass
        hold.release()
        assert "first" in await running
        assert "next" in await ask(http)


async def shown(http: httpx.AsyncClient) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return bytes(found)


async def test_what_takes_a_restart_is_named(caplog: pytest.LogCaptureFixture) -> None:
    settings = Serve(log="requests.jsonl", tls_cert="there.pem")
    async with serving(Scripted(*answer("first")), lambda: now(Scripted(*answer("next")), settings)) as http:
        os.kill(os.getpid(), signal.SIGHUP)
        while "next" not in await ask(http):
            pass
    assert [message for message in caplog.messages if "takes a restart" in message] == [
        "serve.log has changed: that takes a restart",
        "serve.tls_cert has changed: that takes a restart",
    ]
