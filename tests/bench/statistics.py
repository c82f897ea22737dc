"""What statistics over many turns cost, and what recording one does.

Run as ``python -m tests.bench.statistics``: fills a history with random turns, then asks `llmchat stats` about them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from backends.events import Done, Meta, Token
from backends.telemetry.spread import percentile
from backends.telemetry.stages import Span
from backends.telemetry.statistics import METRICS
from backends.telemetry.timeline import Asked, Timeline
from backends.telemetry.turns import numbers_of
from tui.history import turn_table
from tui.history.history import History
from tui.history.history_file import connect

DAY_S = 86_400


def random_timeline(rng: random.Random, tokens: int = 342) -> Timeline:
    """A turn as a server of ours would have reported it."""
    backend, model = rng.choice((("demo", "demo"), ("box", "qwen3-8b"), ("paid", "gpt-5-mini"), ("paid", "gpt-5")))
    timeline = Timeline(asked=Asked(backend, rng.choice(("chat", "chat", "chat", "summarize")), 1024))
    queue, prefill, gap = rng.expovariate(1 / 30), rng.lognormvariate(5.5, 0.8), rng.lognormvariate(3, 0.4)
    spans = (Span("provider_queue", 2.0, queue), Span("prefill", 2.0 + queue, prefill))
    at = 4.0 + queue + prefill
    prompt = rng.randint(100, 4_000)
    counts = {"prompt_tokens": prompt, "cached_tokens": rng.randint(0, prompt), "completion_tokens": tokens}
    timeline.add(Meta(model, at, spans=spans, **counts), at)  # type: ignore[arg-type]
    for _ in range(tokens):
        timeline.add(Token("word"), at)
        at += rng.expovariate(1 / gap)
    timeline.add(Done(tokens, at, rng.choice(("stop", "stop", "stop", "stop", "length", "cancelled"))), at)
    return timeline


def filled(path: Path, turns: int, days: int = 60) -> None:
    """A history with so many turns: a few timelines, but every time another."""
    rng = random.Random(1)
    some = [random_timeline(rng) for _ in range(200)]
    stored = [(numbers_of(timeline, 0.0), timeline.dump()) for timeline in some]
    begun = time.time() - days * DAY_S

    with contextlib.closing(connect(path)) as connection, connection:
        for number in range(turns):
            numbers, timeline = stored[number % len(stored)]
            started = begun + days * DAY_S * number / turns
            times = {name: ms * rng.uniform(0.8, 1.25) for name in METRICS if (ms := getattr(numbers, name))}
            turn_table.insert(connection, None, msgspec.structs.replace(numbers, started=started, **times), timeline)


def recording_ms(path: Path, count: int = 300) -> list[float]:
    """What storing one turn of 342 tokens takes, in the thread that does it."""
    rng = random.Random(2)
    timelines = [random_timeline(rng) for _ in range(count)]
    took = []
    with contextlib.closing(History(path)) as history:
        for timeline in timelines:
            begun = time.perf_counter()
            history.add_turn(None, numbers_of(timeline, time.time()), timeline.dump())
            took.append(1000 * (time.perf_counter() - begun))
    return took


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        config = Path(folder) / "config.toml"
        config.write_text(f'[history]\npath = "{path}"\n')
        filled(path, wanted.turns)
        took = recording_ms(path)
        print(f"recording a turn: {percentile(took, 50):.2f} ms at the median, {percentile(took, 95):.2f} ms at P95")
        size = path.stat().st_size / wanted.turns
        print(f"{wanted.turns:,} turns of 342 tokens, {size:,.0f} bytes each; llmchat stats, the whole process:")
        for option in ((), ("--json",), ("--csv",), ("--last", "7d"), ("--plot",)):
            command = [sys.executable, "-m", "tui", "stats", "--config", str(config), *option]
            times = []
            for _ in range(wanted.repeats):
                begun = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "120"})
                times.append(time.perf_counter() - begun)
            print(f"  {' '.join(option) or '(table)':12} {percentile(times, 50):.2f} s")


if __name__ == "__main__":
    main()
