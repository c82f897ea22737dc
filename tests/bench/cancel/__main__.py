"""How soon a server sees that its reader has gone: ``python -m tests.bench.cancel``.

From the cancelling of the task that reads an answer, which is what Esc does (behind the terminal's own wait for the
rest of an escape sequence: ESCDELAY, 25 ms without the kitty protocol), to the server's notice: the end of its
connection, the closing of its backend's stream, or, at llama-server, a free slot. In mid-answer, and before the first
token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from urllib.request import urlopen

from backends import config, providers
from backends.backend import Backend, ChatRequest, Message, Sampling
from backends.events import Error, Token
from backends.telemetry.spread import percentile
from tests.counterparts import litellm, llama_server, nginx
from tests.counterparts.watched import SILENT, watched

GIVE_UP = 5.0
"""Seconds after which a server that goes on working counts as one that never notices."""

Begun = Callable[[], Awaitable[int]]
Gone = Callable[[int], Awaitable[float]]


def backend(kind: str, url: str, model: str, more: str = "") -> Backend:
    """A backend that speaks `kind`; `more`: further lines of its configuration."""
    text = f'[backends.a]\ntype = "{kind}"\nurl = "{url}"\nmodel = "{model}"\nproxy = "direct"\nretries = 0\n{more}'
    return providers.open_backend(config.parse(text), "a")


async def one(backend: Backend, begun: Begun | None, gone: Gone, *, silent: bool) -> float | None:
    """Milliseconds from the cancel to the server's notice; None: it never came."""
    question = f"{SILENT if silent else 'talk'} for ever"
    request = ChatRequest((Message("user", question),), max_tokens=1800, sampling=Sampling(temperature=0.0))
    first = asyncio.Event()

    async def read() -> None:
        async with aclosing(backend.stream(request)) as events:
            async for event in events:
                if isinstance(event, Token | Error):
                    first.set()

    reader = asyncio.create_task(read())
    number = 0 if begun is None else await begun()
    if not silent:
        await first.wait()
    await asyncio.sleep(0.05)
    assert not reader.done(), await asyncio.gather(reader, return_exceptions=True)
    cancelled = time.monotonic()
    reader.cancel()
    try:
        async with asyncio.timeout(GIVE_UP):
            return (await gone(number) - cancelled) * 1000
    except TimeoutError:
        return None
    finally:
        await asyncio.gather(reader, return_exceptions=True)


async def slots_free(url: str, _: int) -> float:
    """When llama-server has no slot at work, looked at as often as it answers."""
    while any(slot["is_processing"] for slot in await asyncio.to_thread(_slots, url)):
        pass
    return time.monotonic()


def _slots(url: str) -> list[dict[str, object]]:
    with urlopen(f"{url}/slots", timeout=GIVE_UP) as response:
        slots: list[dict[str, object]] = json.load(response)
    return slots


async def ways(url: str, folder: Path, stack: AsyncExitStack, chosen: set[str]) -> AsyncIterator[tuple[str, str, str]]:
    """Name, URL and model of each way to the server at `url`."""
    yield "direct", url, ""
    if "nginx" in chosen:
        yield "nginx", stack.enter_context(nginx.nginx(url, folder / "nginx")), ""
    if "litellm" in chosen:
        yield "litellm", stack.enter_context(litellm.litellm(url, folder / "litellm")), litellm.MODEL


async def measure(count: int, chosen: set[str]) -> None:
    """Print the table."""
    print(f"| server | way | moment | n | p50 ms | p95 ms | max ms | never |\n|{' --- |' * 8}", flush=True)
    await to_watched("openai", "openai", "chat completions, by hand", count, chosen)
    await to_watched("serve", "native", "llmchat serve, native", count, chosen - {"litellm"})
    await to_watched("serve", "openai", "llmchat serve, chat completions", count, chosen)
    await to_llama_server(count, chosen)


async def to_watched(far_kind: str, near_kind: str, name: str, count: int, chosen: set[str]) -> None:
    """The rows of a server that tells when its reader has gone."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        far = await stack.enter_async_context(watched(far_kind))
        async for way, url, model in ways(far.url, folder, stack, chosen):
            for silent in (False, True):
                near = backend(near_kind, url, model)
                found = [await one(near, far.begun, far.gone, silent=silent) for _ in range(count)]
                await near.aclose()
                report(name, way, "before the first token" if silent else "in mid-answer", found)


async def to_llama_server(count: int, chosen: set[str]) -> None:
    """The rows of a real llama-server, where there is one."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(llama_server.running(folder / "log"))
        if url is None:
            return
        async for way, near_url, model in ways(url, folder, stack, chosen):
            near = backend("openai", near_url, model, "extra_body = {ignore_eos = true}")
            found = [await one(near, None, partial(slots_free, url), silent=False) for _ in range(count)]
            await near.aclose()
            report("llama-server, slot free", way, "in mid-answer", found)


def report(server: str, way: str, moment: str, found: list[float | None]) -> None:
    """One row."""
    times = sorted(ms for ms in found if ms is not None)
    numbers = [f"{percentile(times, share):.1f}" if times else "-" for share in (50, 95, 100)]
    print(
        f"| {server} | {way} | {moment} | {len(found)} | {' | '.join(numbers)} | {len(found) - len(times)} |",
        flush=True,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cancel", description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="cancels per row")
    parser.add_argument("--only", default="nginx,litellm", help="the proxies to go through, where they are installed")
    options = parser.parse_args()
    chosen = {name for name, its in (("nginx", nginx), ("litellm", litellm)) if its.installed()}
    asyncio.run(measure(options.count, chosen & set(options.only.split(","))))


if __name__ == "__main__":
    main()
