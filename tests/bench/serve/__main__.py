"""`llmchat serve` and llama-server under the same crowd: ``python -m tests.bench.serve --clients 200 --seconds 300``.

Half of the clients read slowly, a quarter hangs up at random. Printed for each server: requests a second, how they
ended, the time to the first event, memory as time goes by; and what is left when all are gone. Both answer with the
demo model, as many at a time, with as many threads. ``--only`` measures one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

from backends.demo import MODEL
from backends.engine.machine import physical_cores, threads_for
from tests.bench.serve.crowd import Crowd, Tally, keep_asking
from tests.bench.serve.processes import Use, serving, use_of
from tests.counterparts import llama_server

STREAMS = 4
"""Answered at a time."""

CONFIG = f"""
backend = "demo"
[backends.demo]
type = "local"
max_streams = {STREAMS}
max_queue = 256
"""
"""The demo model without documents, and room in the line for the whole crowd."""

_IDLE_S = 75.0
"""So long, and a request that looks, until idle connections between our own processes are closed; 15 s more for those
whose other end does it."""

_PARTS = 6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serve", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--only", choices=("llmchat", "llama-server"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "llama-server":
            with serving(Path(folder), CONFIG) as (port, pid):
                measure("llmchat serve", port, pid, options, lambda: _told(port))
        if options.only != "llmchat":
            threads = threads_for(MODEL.stat().st_size, physical_cores())
            with llama_server.running(Path(folder) / "log", STREAMS, threads) as url:
                port = int(url.rpartition(":")[2])
                measure("llama-server", port, _listener(port), options, dict)


def measure(name: str, port: int, pid: int, options: argparse.Namespace, told: Callable[[], dict[str, int]]) -> None:
    """Put the crowd on the server of process `pid`. `told`: what it says itself that it holds."""
    question = {"role": "user", "content": "Can I pause my annual subscription, and what does it cost?"}
    body: dict[str, object] = {"model": "demo", "messages": [question], "max_tokens": options.tokens, "docs": False}
    crowd = Crowd(port, body)
    asyncio.run(keep_asking(crowd, 4, 0.0))  # warm
    before, held = use_of(pid), told()
    began = time.perf_counter()
    tally, seen = asyncio.run(_under_load(crowd, pid, options))
    report(name, tally, time.perf_counter() - began, options.clients, seen)
    for wait in (1.0, _IDLE_S, 15.0):
        if use_of(pid).descriptors > before.descriptors:
            time.sleep(wait)
            asyncio.run(keep_asking(crowd, 1, 0.0))
    after = use_of(pid)
    print(f"  left, of before: descriptors {after.descriptors} of {before.descriptors}", end="")
    print(f", threads {after.threads} of {before.threads}, memory {after.mib:.0f} of {before.mib:.0f} MiB", end="")
    print("".join(f", {what} {count} of {held[what]}" for what, count in told().items()), flush=True)


async def _under_load(crowd: Crowd, pid: int, options: argparse.Namespace) -> tuple[Tally, list[Use]]:
    """What came of it, and what the server held once a second."""
    seen = [use_of(pid)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(1.0)
            seen.append(use_of(pid))

    watching = asyncio.create_task(watch())
    tally = await keep_asking(crowd, options.clients, time.perf_counter() + options.seconds)
    watching.cancel()
    return tally, seen


def report(name: str, tally: Tally, took: float, clients: int, seen: list[Use]) -> None:
    """Print what came of it."""
    first = sorted(tally.first_ms) or [0.0]
    answered, total = tally.count("done") + tally.count("left"), sum(tally.ends.values())
    print(f"{name}: {clients} clients, {took:.0f} s")
    print(
        f"  {answered / took:.1f} requests/s answered ({total / took:.1f}/s in all), {tally.count('corrupt')} corrupt"
    )
    for (kind, end), count in sorted(tally.ends.items()):
        print(f"  {kind:8} {end:12} {count}")
    print(f"  first event: p50 {first[len(first) // 2]:.0f} ms, p95 {first[int(len(first) * 0.95)]:.0f} ms")
    most, parts = max(use.mib for use in seen), [seen[(len(seen) - 1) * part // _PARTS] for part in range(_PARTS + 1)]
    print(f"  memory: {' '.join(f'{use.mib:.0f}' for use in parts)} MiB as time goes by", end="")
    print(f", {(most - seen[0].mib) * 1024 / clients:.0f} kB a client at most", end="")
    print(f"; {max(use.descriptors for use in seen)} descriptors at most", flush=True)


def _told(port: int) -> dict[str, int]:
    """Streams and KV cells in use, as the service's metrics say."""
    with closing(urlopen(f"http://127.0.0.1:{port}/metrics")) as page:
        text = page.read().decode()
    streams = sum(map(int, re.findall(r'llmchat_streams\{state="\w+"\} (\d+)', text)))
    cells = re.findall(r"llmchat_kv_cells_used (\d+)", text)
    return {"streams": streams, "KV cells": int(cells[0]) if cells else 0}


def _listener(port: int) -> int:
    """The child of ours that listens on `port`."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for pid in map(int, children):
        if str(port) in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
    raise SystemExit(f"nobody of ours listens on {port}")


if __name__ == "__main__":
    main()
