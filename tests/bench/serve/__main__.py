"""`llmchat serve` and llama-server under the same crowd: ``python -m tests.bench.serve --clients 200 --seconds 300``.

Half of the clients read slowly, a quarter hangs up at random. Printed for each server: requests a second, how they
ended, the time to the first event, memory; and what is left when all are gone (memory, descriptors, streams).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from tests.bench.serve.crowd import Crowd, Tally, keep_asking
from tests.bench.serve.service import Use, family, serving, streams_left, use_of
from tests.counterparts.llama_server import running

_CONFIG = 'backend = "demo"\n[backends.demo]\ntype = "local"\nmax_queue = 256\n'
"""The demo model, without documents."""

_SETTLE_S = 80.0  # longer than idle connections between our own processes are kept


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serve")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with serving(Path(folder), _CONFIG) as (port, pid):
            _measure("llmchat serve", port, pid, "demo", options)
            left = streams_left(port).items()
            print(f"  streams left: {', '.join(f'{state} {count}' for state, count in left)}")
        with running(Path(folder) / "log") as url:
            if url is not None:
                port = int(url.rpartition(":")[2])
                _measure("llama-server", port, _listener(port), "", options)


def _measure(name: str, port: int, pid: int, model: str, options: argparse.Namespace) -> None:
    question = {"role": "user", "content": "Can I pause my annual subscription, and what does it cost?"}
    body: dict[str, object] = {"model": model, "messages": [question], "max_tokens": options.tokens, "docs": False}
    crowd = Crowd(port, body)
    asyncio.run(keep_asking(crowd, 4, 0.0))  # warm
    before = use_of(pid)
    began = time.perf_counter()
    peak, tally = asyncio.run(_under_load(crowd, pid, options))
    took = time.perf_counter() - began
    until = time.perf_counter() + _SETTLE_S
    while (after := use_of(pid)).descriptors > before.descriptors and time.perf_counter() < until:
        time.sleep(1.0)
    _report(name, tally, took, options.clients, before, peak, after)


async def _under_load(crowd: Crowd, pid: int, options: argparse.Namespace) -> tuple[Use, Tally]:
    async def watch() -> None:
        nonlocal peak
        while True:
            now = use_of(pid)
            peak = Use(max(peak.mib, now.mib), max(peak.descriptors, now.descriptors))
            await asyncio.sleep(1.0)

    peak = use_of(pid)
    watching = asyncio.create_task(watch())
    tally = await keep_asking(crowd, options.clients, time.perf_counter() + options.seconds)
    watching.cancel()
    return peak, tally


def _report(name: str, tally: Tally, took: float, clients: int, before: Use, peak: Use, after: Use) -> None:
    first = sorted(tally.first_ms) or [0.0]
    answered = tally.count("done") + tally.count("left")
    print(f"{name}: {clients} clients, {took:.0f} s")
    print(f"  {answered / took:.1f} requests/s answered ({sum(tally.ends.values()) / took:.1f}/s in all)")
    for (kind, end), count in sorted(tally.ends.items()):
        print(f"  {kind:8} {end:12} {count}")
    print(f"  first event: p50 {first[len(first) // 2]:.0f} ms, p95 {first[int(len(first) * 0.95)]:.0f} ms")
    print(f"  memory: {before.mib:.0f} MiB before, {peak.mib:.0f} at most", end="")
    print(f" ({(peak.mib - before.mib) * 1024 / clients:.0f} kB a client), {after.mib:.0f} after")
    print(f"  descriptors: {before.descriptors} before, {peak.descriptors} at most, {after.descriptors} after")


def _listener(port: int) -> int:
    """The child of ours that listens on `port`."""
    for pid in family(os.getpid())[1:]:
        if str(port) in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
    raise SystemExit(f"nobody of ours listens on {port}")


if __name__ == "__main__":
    main()
