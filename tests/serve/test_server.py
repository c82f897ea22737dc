"""The service's start and end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from backends.backend import ChatRequest, Message
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Token
from backends.providers.native import Native
from backends.serve import peer, serve
from backends.serve.app import create_app
from backends.serve.server import listening
from tests.fakes.scripted import Hold, Scripted, answer
from tests.serve.conftest import PATIENCE, eventually

REQUEST = ChatRequest((Message("user", "hi"),))


async def read(url: str) -> list[Event]:
    """One answer of the service at `url`."""
    native = Native(url)
    try:
        async with asyncio.timeout(PATIENCE):
            return [event async for event in native.stream(REQUEST)]
    finally:
        await native.aclose()


class TestAddresses:
    async def test_a_free_port(self) -> None:
        async with listening(create_app(Scripted(*answer("a")))) as url:
            assert url.startswith("http://127.0.0.1:")
            assert isinstance((await read(url))[-1], Done)

    async def test_events_are_not_held_back_for_acknowledgements(self, monkeypatch: pytest.MonkeyPatch) -> None:
        accepted: list[int] = []
        made = AutoHTTPProtocol.connection_made

        def connection_made(self: asyncio.Protocol, transport: asyncio.Transport) -> None:
            connection = transport.get_extra_info("socket")
            accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            made(self, transport)

        monkeypatch.setattr(AutoHTTPProtocol, "connection_made", connection_made)
        async with listening(create_app(Scripted(*answer("a")))) as url:
            await read(url)

        assert len(accepted) == 1
        assert accepted[0] != 0

    async def test_a_unix_socket_for_its_owner_only_and_gone_at_the_end(self, tmp_path: Path) -> None:
        path = tmp_path / "s"

        async with listening(create_app(Scripted(*answer("a"))), uds=str(path)) as url:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert isinstance((await read(url))[-1], Done)

        assert not path.exists()

    async def test_a_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BackendError, match=f"127.0.0.1:{port}: another program uses it") as caught:
                async with listening(create_app(Scripted()), port=port):
                    pass
        assert caught.value.code == Code.CONFIG

    async def test_a_socket_in_use(self, tmp_path: Path) -> None:
        async with listening(create_app(Scripted(*answer("a"))), uds=str(tmp_path / "s")) as url:
            with pytest.raises(BackendError, match="already answers there"):
                async with listening(create_app(Scripted()), uds=str(tmp_path / "s")):
                    pass
            assert isinstance((await read(url))[-1], Done)

    async def test_a_dead_socket_is_replaced(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "s"))

        async with listening(create_app(Scripted(*answer("a"))), uds=str(tmp_path / "s")) as url:
            assert isinstance((await read(url))[-1], Done)

    async def test_a_file_in_the_way_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_text("precious")

        with pytest.raises(BackendError, match="not a socket"):
            async with listening(create_app(Scripted()), uds=str(tmp_path / "s")):
                pass

        assert (tmp_path / "s").read_text() == "precious"

    @pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("nobody.invalid", 0), ("127.0.0.1", 99_999)])
    async def test_an_address_that_is_not_ours(self, host: str, port: int) -> None:
        with pytest.raises(BackendError, match="cannot listen on"):
            async with listening(create_app(Scripted()), host=host, port=port):
                pass

    async def test_a_path_that_is_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="cannot listen on"):
            async with listening(create_app(Scripted()), uds=str(tmp_path / ("x" * 200))):
                pass


class TestTheEnd:
    async def test_running_streams_may_finish(self) -> None:
        hold = Hold()
        backend = Scripted(Token("a"), hold, *answer("b"))

        async with listening(create_app(backend), grace=PATIENCE) as url:
            answering = asyncio.create_task(read(url))
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)
            asyncio.get_running_loop().call_later(0.1, hold.release)

        assert isinstance((await answering)[-1], Done)

    async def test_those_that_do_not_are_told(self) -> None:
        hold = Hold()
        backend = Scripted(Token("a"), hold)

        async with listening(create_app(backend), grace=0.05) as url:
            answering = asyncio.create_task(read(url))
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)

        error = (await answering)[-1]
        assert isinstance(error, Error)
        assert (error.code, error.retryable) == ("SHUTDOWN", True)
        assert backend.streaming == 0

    async def test_new_ones_are_refused_meanwhile(self) -> None:
        hold = Hold()
        app = create_app(Scripted(Token("a"), hold, *answer("b")))

        async with listening(app, grace=0.0) as url:
            first = asyncio.create_task(read(url))
            await asyncio.wait_for(hold.reached.wait(), PATIENCE)
            draining = asyncio.create_task(app.state.streams.drain(PATIENCE))
            await eventually(lambda: app.state.streams.draining)
            refused = (await read(url))[-1]
            hold.release()
            assert isinstance((await first)[-1], Done)
            await draining

        assert isinstance(refused, Error)
        assert refused.code == "HTTP_503"
        assert "shutting down" in refused.message

    async def test_no_tasks_are_left(self) -> None:
        before = asyncio.all_tasks()

        async with listening(create_app(Scripted(*answer("a")))) as url:
            await read(url)

        assert asyncio.all_tasks() == before


class TestServe:
    async def test_it_tells_its_address_and_ends_on_a_signal(self, capfd: pytest.CaptureFixture[str]) -> None:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        before = signal.getsignal(signal.SIGTERM)
        serving = asyncio.create_task(serve(Scripted(*answer("a")), on_started=started.set_result))

        assert isinstance((await read(await asyncio.wait_for(started, PATIENCE)))[-1], Done)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, PATIENCE)

        assert signal.getsignal(signal.SIGTERM) is before
        assert capfd.readouterr() == ("", "")

    async def test_it_ends_when_it_is_cancelled(self, tmp_path: Path) -> None:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(Scripted(), uds=str(tmp_path / "s"), on_started=started.set_result))
        assert await asyncio.wait_for(started, PATIENCE) == f"unix:{tmp_path}/s"

        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(serving, PATIENCE)

        assert not (tmp_path / "s").exists()

    async def test_importing_it_is_light(self) -> None:
        code = "import sys, backends.serve; print('uvicorn' in sys.modules or 'starlette' in sys.modules)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()

        assert output.strip() == b"False"


class TestPeer:
    async def test_the_uid_at_the_other_end(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            assert peer.peer_uid(ours) in (os.getuid(), None)

    async def test_another_user_is_not_heard(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peer, "peer_uid", lambda _: os.getuid() + 1)
        backend = Scripted(*answer("a"))

        async with listening(create_app(backend), uds=str(tmp_path / "s")) as url:
            error = (await read(url))[-1]

        assert isinstance(error, Error)
        assert backend.requests == []
