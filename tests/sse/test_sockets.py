"""Connections on asyncio's own transports, against a bare socket at the other end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import pytest

from backends.sse.sockets import FAST_AFTER, LOOKUP, AsyncioBackend
from tests.fakes.tls import authority

PATIENCE = 20.0


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[tuple[httpcore.AsyncNetworkStream, socket.socket]]:
    """A stream, and the socket at its other end."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.setblocking(False)
        stream = await AsyncioBackend().connect_unix_socket(str(tmp_path / "s"), timeout=PATIENCE)
        other, _ = await loop.sock_accept(listener)
        with other:
            other.setblocking(False)
            yield stream, other
            await stream.aclose()
            await asyncio.sleep(0)


async def test_what_arrives_is_read_in_parts(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, other):
        other.send(b"hello")

        assert await stream.read(2) == b"he"
        assert stream.get_extra_info("is_readable")
        assert await stream.read(99) == b"llo"
        assert not stream.get_extra_info("is_readable")


async def test_more_than_any_buffer_holds_passes_both_ways(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    loop = asyncio.get_running_loop()

    async with connected(tmp_path) as (stream, other), asyncio.timeout(PATIENCE):
        sending = asyncio.create_task(loop.sock_sendall(other, data))
        got = bytearray()
        while len(got) < len(data):
            got += await stream.read(65_536)
        await sending
        assert got == data

        writing = asyncio.create_task(stream.write(data))
        got.clear()
        while len(got) < len(data):
            got += await loop.sock_recv(other, 65_536)
        await writing
        assert got == data


@pytest.mark.parametrize("body", [b"{}", b""])
async def test_the_head_of_a_post_goes_out_with_its_body(tmp_path: Path, body: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connected(tmp_path) as (stream, other):
        await stream.write(head)
        with pytest.raises(BlockingIOError):
            other.recv(100)
        await stream.write(body)
        assert other.recv(100) == head + body
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")  # nothing follows that
        assert other.recv(100).startswith(b"GET")


async def test_a_sender_is_stopped_while_nobody_reads(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, other):
        sent = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            try:
                sent += other.send(b"x" * 65_536)
            except BlockingIOError:
                break
        assert sent < 20_000_000


async def test_the_end_is_read_as_nothing(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, other):
        other.send(b"last")
        other.close()

        assert await stream.read(99) == b"last"
        assert await stream.read(99) == b""
        assert stream.get_extra_info("is_readable")


async def test_waiting_is_limited(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, _):
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(99, timeout=0.05)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * 50_000_000, timeout=0.05)


async def test_closing_ends_a_reader_and_a_writer(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, _):
        reading = asyncio.create_task(stream.read(99))
        await asyncio.sleep(0)
        await stream.aclose()

        with pytest.raises(httpcore.ReadError):
            await asyncio.wait_for(reading, PATIENCE)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"late")


async def test_the_peer_sees_a_close_before_the_loop_goes_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, other):
        with pytest.raises(StopIteration):
            stream.aclose().send(None)  # takes no turn of the loop

        assert other.recv(99) == b""


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend().connect_unix_socket(str(tmp_path / "none"))
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend().connect_tcp("127.0.0.1", 1)


async def test_a_fast_stream_arrives_whole(tmp_path: Path) -> None:
    data = b"".join(b"%04d" % number for number in range(2000))
    loop = asyncio.get_running_loop()

    async with connected(tmp_path) as (stream, other), asyncio.timeout(PATIENCE):

        async def send() -> None:
            for start in range(0, len(data), 16):
                await loop.sock_sendall(other, data[start : start + 16])
                await asyncio.sleep(0)
            other.shutdown(socket.SHUT_WR)

        sending = asyncio.create_task(send())
        got = bytearray()
        while piece := await stream.read(65_536):
            got += piece
        await sending

    assert got == data


async def test_what_comes_fast_is_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.sse.sockets.GATHER", 2.0)

    async with connected(tmp_path) as (stream, other), asyncio.timeout(PATIENCE):
        for _ in range(1 + FAST_AFTER):
            other.send(b"x")
            assert await stream.read(99) == b"x"
        reading = asyncio.create_task(stream.read(99))
        await asyncio.sleep(0)
        other.send(b"one ")
        for _ in range(5):
            await asyncio.sleep(0)
        other.send(b"two")

        assert await reading == b"one two"


@asynccontextmanager
async def encrypted(folder: Path) -> AsyncIterator[tuple[httpcore.AsyncNetworkStream, asyncio.StreamWriter]]:
    """A stream with TLS to this machine by its name, and the server's end."""
    server_side, trusted = authority(folder)
    arrived: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: arrived.set_result(writer), "127.0.0.1", 0, ssl=server_side)
    async with server, asyncio.timeout(PATIENCE):
        port = server.sockets[0].getsockname()[1]
        plain = await AsyncioBackend().connect_tcp("localhost", port, timeout=PATIENCE)
        assert plain.get_extra_info(LOOKUP) > 0
        stream = await plain.start_tls(ssl.create_default_context(cafile=trusted), "localhost", PATIENCE)
        yield stream, await arrived
        await stream.aclose()
        (await arrived).transport.abort()
        await asyncio.sleep(0)


async def test_encrypted_streams_pass_everything_too(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8_000
    async with encrypted(tmp_path) as (stream, other):
        assert stream.get_extra_info("ssl_object").version().startswith("TLS")
        other.write(data)
        got = bytearray()
        while len(got) < len(data):
            got += await stream.read(65_536)
        assert got == data
        other.write(b"last")
        other.close()
        assert await stream.read(99) == b"last"
        assert await stream.read(99) == b""


async def test_what_comes_fast_and_encrypted_is_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.sse.sockets.GATHER", 2.0)
    async with encrypted(tmp_path) as (stream, other):
        for _ in range(1 + FAST_AFTER):
            other.write(b"x")
            assert await stream.read(99) == b"x"
        reading = asyncio.create_task(stream.read(99))
        await asyncio.sleep(0)
        for word in (b"one ", b"two"):
            other.write(word)
            await asyncio.sleep(0.05)
        assert not reading.done()

        assert await reading == b"one two"


@asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[httpcore.AsyncNetworkStream]:
    """A stream to a server that says `words` and nothing else."""
    writers: list[asyncio.StreamWriter] = []

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(words)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield await AsyncioBackend().connect_tcp("127.0.0.1", server.sockets[0].getsockname()[1])
        for writer in writers:
            writer.transport.abort()
    await asyncio.sleep(0)


async def test_a_peer_without_tls() -> None:
    async with saying(b"SSH-2.0\r\n") as stream:
        with pytest.raises(httpcore.ConnectError) as caught:
            await stream.start_tls(ssl.create_default_context(), "127.0.0.1", PATIENCE)
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_peer_that_shakes_no_hands() -> None:
    async with saying(b"") as stream:
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(ssl.create_default_context(), "127.0.0.1", 0.05)


async def test_closing_while_more_is_waited_for_ends_the_reading(tmp_path: Path) -> None:
    async with connected(tmp_path) as (stream, other), asyncio.timeout(PATIENCE):
        for _ in range(2 * FAST_AFTER):
            other.send(b"x")
            await stream.read(99)
        reading = asyncio.create_task(stream.read(99))
        await asyncio.sleep(0)
        other.send(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await stream.aclose()

        with pytest.raises(httpcore.ReadError):
            await reading
