"""What is measured of one client in one run. Every result is a flat dict of numbers: milliseconds, seconds, kB, MB."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.screen import process_usage
from tests.bench.screen.answer import script
from tests.bench.screen.clients import Client
from tests.bench.screen.markers import MarkerText, seen
from tests.bench.screen.recorded_terminal import RecordedTerminal
from tests.bench.screen.stage import QUESTION, Stage, staged

Result = dict[str, float | None]

STREAM_LIMIT = 120.0
"""Seconds after Enter at which a run is ended; what is not in view by then never will be of use."""

BUSY_TOKENS, BUSY_RATE = 60_000, 2_000.0
"""The answer that streams while keys are pressed: longer than anybody lets it run."""

KEY_PATIENCE = 5.0
"""Seconds after which a key counts as not echoed, or an answer as not cancelled."""

ECHO_LIMIT = 30.0
"""Seconds for all keys together."""

LETTERS = "".join(map(chr, range(0x410, 0x450)))
"""Cyrillic: no answer has them, so that each is found in what is written without drawing it."""


FIRST = b"Section"
"""What stands in the first tokens of every answer, and then in none for long."""


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile; None of nothing."""
    ordered = sorted(values)
    return ordered[round(percent / 100 * (len(ordered) - 1))] if ordered else None


def start(client: Client, home: Path) -> Result:
    """Seconds from the start of the process to a prompt that can be used."""
    with staged(client, 1, 1.0, home) as stage:
        took = stage.wait_until_ready()
        return {"seconds": took, "cpu_seconds": process_usage.cpu_seconds(stage.terminal.pid)}


def stream(client: Client, tokens: int, rate: float) -> Result:
    """One streamed answer, the client's second: lag of its markers, and what showing it costs."""
    load = os.getloadavg()[0]
    with staged(client, tokens, rate) as stage:
        stage.wait_until_ready()
        stage.warm_up()
        terminal = stage.terminal
        before_typing = process_usage.cpu_seconds(terminal.pid)
        stage.type(QUESTION)
        cpu, begin = process_usage.cpu_seconds(terminal.pid), len(terminal.reads)
        entered, _ = stage.send()
        last = max(piece.marker or 0 for piece in script(tokens))
        complete = _wait_for_the_end(stage, begin, last, entered + STREAM_LIMIT)
        if complete:
            terminal.wait_until_quiet(0.5, 3)  # the last repaint belongs to the cost
        result: Result = {
            "cpu_seconds_per_1000": (process_usage.cpu_seconds(terminal.pid) - cpu) / tokens * 1000,
            "peak_megabytes": process_usage.peak_megabytes(terminal.pid),
            "key_cpu_ms": (cpu - before_typing) / len(QUESTION) * 1000,
            "load": load,
        }
        before, reads = terminal.reads[:begin], terminal.reads[begin:]
        events = list(stage.server.events)
    result["kilobytes_per_1000"] = sum(len(read.data) for read in reads) / tokens
    sent = {event["n"]: event["t"] for event in events if event["event"] == "marker"}
    times = seen(before, reads, sent)
    lags = [(times[number] - at) * 1000 for number, at in sent.items() if number in times]
    end = next((event for event in events if event["event"] == "end"), None)
    return result | {
        "lag_p50_ms": percentile(lags, 50),
        "lag_p95_ms": percentile(lags, 95),
        "lag_max_ms": max(lags, default=None),
        "end_lag_ms": (times[last] - end["t"]) * 1000 if end and last in times else None,
        "markers_lost": len(sent) - len(lags),
        "server_slip_ms": end["slip"] * 1000 if end else None,
    }


def _wait_for_the_end(stage: Stage, begin: int, last: int, until: float) -> bool:
    """Wait until marker `last` is in what the client wrote, or the client is idle behind the end; False at `until`."""
    text, position, ended = MarkerText(), begin, False
    while time.monotonic() < until:
        fresh = stage.terminal.reads[position:]
        position += len(fresh)
        ended = ended or stage.server.wait_for("end", 0) is not None
        if any(last in text.feed(data) for _, data in fresh):
            return stage.server.wait_for("end", 5) is not None
        if ended and not fresh and time.monotonic() - stage.terminal.reads[-1].at > 3:
            return True
        time.sleep(0.02)
    return False


def idle(client: Client, seconds: float) -> Result:
    """CPU time while nothing happens, after an answer, as a share of one core."""
    with staged(client, 1, 1.0) as stage:
        stage.wait_until_ready()
        stage.warm_up()
        time.sleep(2.0)
        pid = stage.terminal.pid
        cpu, at = process_usage.cpu_seconds(pid), time.monotonic()
        time.sleep(seconds)
        return {"cpu_percent": 100 * (process_usage.cpu_seconds(pid) - cpu) / (time.monotonic() - at)}


def enter(client: Client, times: int) -> Result:
    """Milliseconds from Enter to the first byte of the request at the server, nothing else going on."""
    with staged(client, 20, 500) as stage:
        stage.wait_until_ready()
        stage.warm_up()
        return _summary([_entered(stage) for _ in range(times)])


def _entered(stage: Stage) -> float:
    already = len(stage.server.events)
    entered, request = stage.ask(QUESTION)
    stage.server.wait_for("end", 10, already)
    return (request["t"] - entered) * 1000


def echo(client: Client, keys: int) -> Result:
    """Milliseconds from a key to its letter on the terminal, while an answer streams at 2,000 tokens a second."""
    with staged(client, BUSY_TOKENS, BUSY_RATE) as stage:
        stage.wait_until_ready()
        stage.warm_up()
        stage.ask(QUESTION)
        stage.server.wait_for("first", 10)
        time.sleep(1.0)
        lags: list[float] = []
        until = time.monotonic() + ECHO_LIMIT
        for letter in LETTERS[:keys]:
            if time.monotonic() > until:
                break
            lags.append(_echoed_after(stage.terminal, letter))
            time.sleep(0.06)
    return _summary(lags)


def _echoed_after(terminal: RecordedTerminal, letter: str) -> float:
    """Type a letter that nothing else writes; milliseconds until it was written."""
    position, wanted = len(terminal.reads), letter.encode()
    at = terminal.type(letter)
    while time.monotonic() - at < KEY_PATIENCE:
        for read in terminal.reads[position:]:
            position += 1
            if wanted in read.data:
                return (read.at - at) * 1000
        time.sleep(0.001)
    return KEY_PATIENCE * 1000


def cancel(client: Client, times: int) -> Result:
    """Milliseconds from Esc to the server's seeing the connection closed, at 2,000 tokens a second.

    `first_ms`: the 95th percentile from the server's write of the first token to the first of its text on the terminal.
    """
    with staged(client, BUSY_TOKENS, BUSY_RATE) as stage:
        stage.wait_until_ready()
        stage.warm_up()
        lags: list[float] = []
        firsts: list[float] = []
        for _ in range(times):
            already = len(stage.server.events)
            stage.ask("Again, at length")
            first = stage.server.wait_for("first", 10, already)
            time.sleep(0.7)
            shown = (read.at for read in stage.terminal.reads if first and read.at > first["t"] and FIRST in read.data)
            if first and (at := next(shown, None)) is not None:
                firsts.append((at - first["t"]) * 1000)
            pressed = stage.terminal.press("escape")
            gone = stage.server.wait_for("disconnect", KEY_PATIENCE, already)
            lags.append((gone["t"] - pressed) * 1000 if gone else KEY_PATIENCE * 1000)
            if gone is None:
                break
            stage.terminal.forget()
    return _summary(lags) | {"first_ms": percentile(firsts, 95)}


def _summary(values: Sequence[float]) -> Result:
    return {
        "p50_ms": statistics.median(values),
        "p95_ms": percentile(values, 95),
        "max_ms": max(values),
        "count": len(values),
        "missed": sum(value >= KEY_PATIENCE * 1000 for value in values),
    }
