"""How far `llmchat bench` itself is in the way of what it measures: against a server that keeps to a schedule.

Run as ``python -m tests.bench.load``. Client and server have one core each. What is told: how much later than the
server wrote a first token the client has it on its timeline (back), how much later than it was due a request was whole
at the server (there), and both. It is an upper bound: what the kernel and the server's own loop take is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from backends.bench.load import Run
from backends.bench.sweep import Extent, Level, Measured, sweep
from backends.bench.workload import Lengths, Workload
from backends.config import Budget
from backends.providers.openai import OpenAI, Options
from backends.telemetry.spread import percentile
from tests.bench.load.paced_server import Pace, Passed


@contextmanager
def paced_server(pace: Pace, record: list[Passed]) -> Iterator[str]:
    """The server's address; `record` is filled when it has ended."""
    command = [sys.executable, "-m", "tests.bench.load.paced_server", msgspec.json.encode(pace).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        record += msgspec.json.decode(server.communicate()[0], type=list[Passed])


async def measure(url: str, levels: Sequence[Level], seconds: float) -> list[tuple[Measured, float]]:
    """Each level, and the share of its core that it took."""
    found: list[tuple[Measured, float]] = []
    workload = Workload(Lengths("fixed", 64), Lengths("fixed", 64), seed=1, model="paced")
    async with contextlib.aclosing(OpenAI(Options(url=url))) as backend:
        for level in levels:
            wall, cpu = time.perf_counter(), time.process_time()
            extent = Extent(duration=seconds, warm_up=1)
            (measured,) = await sweep(backend, workload, (level,), extent, Budget(10_000, 60_000))
            found.append((measured, (time.process_time() - cpu) / (time.perf_counter() - wall)))
    return found


def distortion(run: Run, record: Sequence[Passed]) -> dict[str, list[float]]:
    """Milliseconds, request by request."""
    found: dict[str, list[float]] = {"there": [], "back": [], "both": []}
    for result in run.results:
        if not result.good or result.prompt_tokens is None or result.ttft is None:
            raise RuntimeError(f"a request failed: {result.error}")
        passed = record[result.prompt_tokens]
        due = run.begun + result.due
        there = 1000 * (passed.received - due)
        back = result.ttft - 1000 * (passed.first - due)
        for name, value in (("there", there), ("back", back), ("both", there + back)):
            found[name].append(value)
    return found


def table(measured: Sequence[tuple[Measured, float]], record: Sequence[Passed]) -> str:
    """For people."""
    rows = [f"{'ms':22}{'P50':>9}{'P90':>9}{'P95':>9}{'P99':>9}{'max':>9}"]
    for one, core in measured:
        summary = one.summary
        rows.append(
            f"{one.level}: {summary.answered:,} streams in {summary.seconds:.0f} s, "
            f"{60 * summary.requests_per_second:,.0f}/min, {summary.tokens_per_second:,.0f} tokens/s, "
            f"{core:.0%} of a core"
        )
        for name, values in distortion(one.run, record).items():
            figures = (*(percentile(values, percent) for percent in (50, 90, 95, 99)), max(values))
            rows.append(f"  {name:20}" + "".join(f"{figure:>9.2f}" for figure in figures))
    return "\n".join(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", default="1,100")
    parser.add_argument("--rate", default="34")
    parser.add_argument("--seconds", type=float, default=60.0)
    wanted = parser.parse_args()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    levels = [Level("clients", float(text)) for text in wanted.concurrency.split(",") if text]
    levels += [Level("second", float(text)) for text in wanted.rate.split(",") if text]
    record: list[Passed] = []
    with paced_server(Pace(), record) as url:
        measured = asyncio.run(measure(url, levels, wanted.seconds))
    print(table(measured, record))


if __name__ == "__main__":
    main()
