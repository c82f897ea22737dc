"""Whether the account of a turn is true: random runs against a server that delays every stage by known amounts.

Run as ``python -m tests.bench.account``. The server and the relay before it are a process of their own, and write down
what passed on the clock that all processes share. `connect` alone is not delayed: on loopback the kernel answers.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections import defaultdict

import msgspec

from backends.events import Event, Token
from backends.telemetry.timeline import Timeline
from tests.bench.account.judge import ask, judge, table
from tests.bench.account.plan import plans
from tests.bench.account.slow_server import Passed, Record, slow_server


async def serve(seed: int, runs: int) -> None:
    """Until stdin is closed; then the record, on stdout."""
    record: Record = defaultdict(Passed)
    async with slow_server(plans(seed, runs), record) as url:
        print(url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    sys.stdout.buffer.write(msgspec.json.encode(record))


def stamping_us(tokens: int = 200_000) -> float:
    """µs of CPU that a token costs to stamp."""
    timeline, event, clock = Timeline(), Token("word"), time.monotonic
    begun = clock()
    events: list[Event] = [event] * tokens
    spent = time.process_time()
    for one in events:
        timeline.add(one, 1000 * (clock() - begun))
    return 1e6 * (time.process_time() - spent) / tokens


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--at-a-time", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        asyncio.run(serve(wanted.seed, wanted.runs))
        return
    planned = plans(wanted.seed, wanted.runs)
    command = [sys.executable, "-m", "tests.bench.account", "--serve", f"--seed={wanted.seed}", f"--runs={wanted.runs}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        url = server.stdout.readline().decode().strip()
        asyncio.run(ask(url, planned[: wanted.at_a_time], wanted.at_a_time))  # imports what a first answer imports
        asked = asyncio.run(ask(url, planned, wanted.at_a_time))
        record = msgspec.json.decode(server.communicate()[0], type=dict[int, Passed])
    print(table([judge(*asked[number], record[number]) for number in sorted(asked)]))
    print(f"stamping: {stamping_us():.2f} µs of CPU a token; python -m tests.bench.stream has what reading one costs")


if __name__ == "__main__":
    main()
