"""A TCP proxy on loopback that cuts connections at a given place of what the server sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """`cuts`: for each connection to come, after how many bytes from the server it is cut, or just before which bytes;
    later ones stay whole.

    With `quietly` only the client notices: the server's side stays open. `received`: bytes from the server, by
    connection.
    """

    def __init__(self, upstream: str, cuts: Iterable[int | bytes], quietly: bool = False) -> None:
        self.url = ""
        self.received: list[int] = []
        self._upstream = urlsplit(upstream)
        self._cuts = iter(cuts)
        self._quietly = quietly
        self.tasks: set[asyncio.Task[None]] = set()
        self.open: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        cut = next(self._cuts, None)
        number = len(self.received)
        self.received.append(0)
        up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        self.open += [writer, up_writer]
        upward = asyncio.create_task(_pipe(reader, up_writer))
        self.tasks.add(upward)
        try:
            while data := await up_reader.read(4096):
                room = len(data)
                if isinstance(cut, int):
                    room = min(room, cut - self.received[number])
                elif cut is not None and cut in data:
                    room = data.index(cut)
                writer.write(data[:room])
                await writer.drain()
                self.received[number] += room
                if room < len(data) or self.received[number] == cut:
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            await _close(writer)
            if cut is None or not self._quietly:
                upward.cancel()
                await _close(up_writer)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass


async def _close(writer: asyncio.StreamWriter) -> None:
    """What was written goes out, then the connection is gone."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def cutting_proxy(upstream: str, *cuts: int | bytes, quietly: bool = False) -> AsyncIterator[CuttingProxy]:
    """Listen on any free port before the server at `upstream`."""
    proxy = CuttingProxy(upstream, cuts, quietly)
    listener = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listener.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)
        for writer in proxy.open:
            await _close(writer)
        await listener.wait_closed()
