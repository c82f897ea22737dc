"""How soon a server sees that its reader has gone: ``python -m tests.bench.cancel``.

From the cancelling of the task that reads an answer, which is what Esc does (behind the terminal's own wait for the
rest of an escape sequence: ESCDELAY, 25 ms without the kitty protocol), to the server's notice: the end of its
connection, or the closing of its backend's stream. In mid-answer, and before the first token. llama-server has two
rows: when it sees that its reader has gone, and when the slot is free, which the step it is computing comes before;
both as its log tells them. litellm stands between as it comes, and with ``cancel_on_disconnect``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, closing, suppress
from functools import partial
from pathlib import Path

from backends import config, providers
from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.events import Error, Token
from backends.telemetry.spread import percentile
from tests.counterparts import litellm, llama_server, nginx, service
from tests.counterparts.watched import SILENT, watched

GIVE_UP = 5.0
"""Seconds after which a server that goes on working counts as one that never notices."""

HOPELESS = 3
"""After as many that never notice, from the first on, a row ends."""

Begun = Callable[[], Awaitable[int]]
"""Waits until the next request is being answered, and gives its number."""

Gone = Callable[[int], AsyncGenerator[float, None]]
"""When request `number` was given up, in as many steps as the server tells (`time.monotonic()`)."""


def backend(kind: str, url: str, model: str, more: str = "") -> Backend:
    """A backend that speaks `kind`; `more`: further lines of its configuration."""
    text = f'[backends.a]\ntype = "{kind}"\nurl = "{url}"\nmodel = "{model}"\nproxy = "direct"\nretries = 0\n{more}'
    return providers.open_backend(config.parse(text), "a")


async def one(backend: Backend, begun: Begun, gone: Gone, question: str, *, silent: bool) -> list[float]:
    """Milliseconds from the cancel to each step of the server's notice, as far as they came."""
    request = ChatRequest((Message("user", question),), max_tokens=1800, sampling=Sampling(temperature=0.0))
    first = asyncio.Event()

    async def read() -> None:
        async with aclosing(backend.stream(request)) as events:
            async for event in events:
                if isinstance(event, Token | Error):
                    first.set()

    reader = asyncio.create_task(read())
    number = await begun()
    if not silent:
        await first.wait()
        await asyncio.sleep(0.05)
    assert not reader.done(), await asyncio.gather(reader, return_exceptions=True)
    cancelled = time.monotonic()
    reader.cancel()
    noticed: list[float] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(GIVE_UP), aclosing(gone(number)) as moments:
            async for moment in moments:
                noticed.append((moment - cancelled) * 1000)
    await asyncio.gather(reader, return_exceptions=True)
    return noticed


async def repeated(count: int, ask: Callable[[], Awaitable[list[float]]]) -> list[list[float]]:
    """`count` times `ask`; fewer where nothing comes of it."""
    found: list[list[float]] = []
    while len(found) < count and found != [[]] * HOPELESS:
        found.append(await ask())
    return found


async def ways(
    kind: str, url: str, folder: Path, stack: AsyncExitStack, chosen: set[str], more: str = ""
) -> AsyncIterator[tuple[str, Backend]]:
    """Each way to the server at `url`, which speaks `kind`: its name, and a backend that goes it. `more`: further lines
    of configuration for who asks that server."""
    yield "direct", backend(kind, url, "", more)
    if "nginx" in chosen:
        yield "nginx", backend(kind, stack.enter_context(nginx.nginx(url, folder / "nginx")), "", more)
    if "litellm" in chosen:
        for name, cancels in (("litellm", False), ("litellm, cancel_on_disconnect", True)):
            with litellm.litellm({"m": url}, folder / "litellm", cancels=cancels) as proxy:
                yield name, backend(kind, proxy, "m", more)
    if "llmchat" in chosen:
        between = stack.enter_context(service.service(url, folder / "service", more))
        yield "`llmchat serve`, its own protocol", backend("native", between, "")
        yield "`llmchat serve`, chat completions", backend("openai", between, service.MODEL)


async def measure(count: int, chosen: set[str], servers: set[str]) -> None:
    """Print the table."""
    print(f"| server | way | moment | n | p50 ms | p95 ms | max ms | never |\n|{' --- |' * 8}", flush=True)
    if "openai" in servers:
        await to_watched("openai", "openai", "chat completions, by hand", count, chosen)
    if "serve" in servers:
        await to_watched("serve", "native", "llmchat serve, native", count, chosen - {"litellm", "llmchat"})
        await to_watched("serve", "openai", "llmchat serve, chat completions", count, chosen - {"llmchat"})
    if "llama-server" in servers:
        await to_llama_server(count, chosen)


async def to_watched(far_kind: str, near_kind: str, name: str, count: int, chosen: set[str]) -> None:
    """The rows of a server that tells when its reader has gone."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        far = await stack.enter_async_context(watched(far_kind))

        async def gone(number: int) -> AsyncGenerator[float, None]:
            yield await far.gone(number)

        async for way, near in ways(near_kind, far.url, folder, stack, chosen):
            for silent in (False, True):
                question = f"{SILENT if silent else 'talk'} for ever"
                found = await repeated(count, partial(one, near, far.begun, gone, question, silent=silent))
                report(name, way, silent, found)
            await near.aclose()


async def to_llama_server(count: int, chosen: set[str]) -> None:
    """The rows of a real llama-server, where there is one."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(llama_server.running(folder / "log"))
        if url is None:
            return
        log = stack.enter_context(closing(_Log(folder / "log")))
        endless = "extra_body = {ignore_eos = true, cache_prompt = false}"
        async for way, near in ways("openai", url, folder, stack, chosen, endless):
            for silent, question in ((False, "talk for ever"), (True, LONG)):
                found = await repeated(count, partial(one, near, log.begun, log.gone, question, silent=silent))
                for step, name in enumerate(("sees it", "slot free")):
                    report(f"llama-server: {name}", way, silent, found, step)
            await near.aclose()


LONG = "What would you like to know about the plans, the refunds and the rooms? " * 100
"""Some 1,700 tokens, so that there is a while before the first."""


class _Log:
    """What llama-server writes down of its requests, looked at each millisecond."""

    def __init__(self, path: Path) -> None:
        self._file = path.open(errors="replace")

    async def begun(self) -> int:
        """Wait until it takes up a request; it has one at a time."""
        await self._line("processing task")
        return 0

    async def gone(self, _: int) -> AsyncGenerator[float, None]:
        """When it sees that the reader has gone, and when the slot is free."""
        yield await self._line("cancel task")
        yield await self._line("stop processing")

    async def _line(self, words: str) -> float:
        """When the next line with `words` was there."""
        while words not in self._file.readline():
            if self._file.tell() == os.fstat(self._file.fileno()).st_size:
                await asyncio.sleep(0.001)
        return time.monotonic()

    def close(self) -> None:
        self._file.close()


def report(server: str, way: str, silent: bool, found: list[list[float]], step: int = 0) -> None:
    """Print one row: the times of `step`."""
    moment = "before the first token" if silent else "in mid-answer"
    times = sorted(noticed[step] for noticed in found if len(noticed) > step)
    numbers = [f"{percentile(times, share):.1f}" if times else "-" for share in (50, 95, 100)]
    print(
        f"| {server} | {way} | {moment} | {len(found)} | {' | '.join(numbers)} | {len(found) - len(times)} |",
        flush=True,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cancel", description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="cancels per row")
    parser.add_argument("--only", default="nginx,litellm,llmchat", help="what to go through, where it is installed")
    parser.add_argument("--servers", default="openai,serve,llama-server", help="the servers to measure")
    options = parser.parse_args()
    chosen = {"llmchat", *(name for name, its in (("nginx", nginx), ("litellm", litellm)) if its.installed())}
    asyncio.run(measure(options.count, chosen & set(options.only.split(",")), set(options.servers.split(","))))


if __name__ == "__main__":
    main()
