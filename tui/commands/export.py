"""`llmchat export`: turns of the history for other programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from backends.errors import BackendError, Code
from backends.telemetry import export
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers
from tui import log_file, private_file
from tui.commands.stats import open_history, window
from tui.exit_codes import ExitCode
from tui.history import turn_table
from tui.target import Target

_AT_A_TIME = 200
"""Turns that are sent before it is waited for them: the exporter drops what its queue cannot hold."""


def trace(target: Target, turn: int | None, output: Path | None) -> ExitCode:
    """One turn (None: the newest) as a trace for Perfetto. Raises BackendError where there is none."""
    log_file.start()
    with open_history(target.load()) as history:
        found = history.read(lambda connection: turn_table.find(connection, turn))
    if found is None or found[1] is None:
        which = "there are no turns yet" if turn is None else f"there is no turn {turn}: see llmchat stats"
        raise BackendError(Code.CONFIG, which)
    events = export.trace([(found[0], Timeline.load(found[1]))])
    return _written(msgspec.json.encode(events) + b"\n", output)


def jsonl(target: Target, last: str, output: Path | None, schema: bool) -> ExitCode:
    """All turns, oldest first, a line each; with `schema` what a line looks like instead."""
    log_file.start()
    if schema:
        return _written(msgspec.json.format(msgspec.json.encode(export.schema()), indent=2) + b"\n", output)
    lines = [export.json_line(numbers, timeline) + b"\n" for numbers, timeline in _turns(target, last)]
    return _written(b"".join(lines), output)


def otlp(target: Target, endpoint: str, last: str) -> ExitCode:
    """Send turns to an OTLP/HTTP collector as GenAI spans and metrics. Raises BackendError without OpenTelemetry."""
    log_file.start()
    from backends.telemetry.otel import Exporter

    exporters: dict[str, Exporter] = {}
    sent = 0
    try:
        for numbers, timeline in _turns(target, last):
            if numbers.backend not in exporters:
                exporters[numbers.backend] = Exporter(endpoint, "client", backend=numbers.backend or "llmchat")
            ended = numbers.started + (timeline.end_ms or 0.0) / 1000
            exporters[numbers.backend].record(timeline, ended=ended)
            sent += 1
            if sent % _AT_A_TIME == 0:
                exporters[numbers.backend].flush()
    except ImportError:
        raise BackendError(Code.CONFIG, "this needs OpenTelemetry: pip install 'llmchat[otel]'") from None
    finally:
        for exporter in exporters.values():
            exporter.close()
    print(f"{sent:,} turns given to the exporter for {endpoint}; what a collector refused is in {log_file.path()}")
    return ExitCode.COMPLETE


def _turns(target: Target, last: str) -> Iterator[tuple[TurnNumbers, Timeline]]:
    moment = time.time() - window(last) if last else 0.0
    only = {"backend": target.backend} if target.backend else None
    with open_history(msgspec.structs.replace(target, backend=None).load()) as history:
        stored = history.read(lambda connection: turn_table.since(connection, moment, only))
    for numbers, data in stored:
        if data is not None:
            yield numbers, Timeline.load(data)


def _written(data: bytes, output: Path | None) -> ExitCode:
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        private_file.write(output, data)
    return ExitCode.COMPLETE
