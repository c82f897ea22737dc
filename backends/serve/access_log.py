"""The log of requests: one JSON object a line, for machines. Never a prompt, an answer, or a key."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from backends.errors import ConfigError
from backends.serve.replies import Refusal
from backends.serve.server_timing import stage_durations
from backends.serve.stream import Stream
from backends.telemetry.summary import summarize

_ENCODER = msgspec.json.Encoder()


class AccessLog:
    """An `Observer` that writes."""

    def __init__(self, file: IO[bytes]) -> None:
        """`file`: without a buffer."""
        self._file = file

    def ended(self, stream: Stream) -> None:
        """See `Observer.ended`. Times in milliseconds."""
        timeline, summary = stream.timeline, summarize(stream.timeline)
        line = {
            "request": stream.id,
            "key": stream.caller.id,
            "feature": stream.request.feature,
            "model": summary.model,
            "outcome": stream.ending or summary.outcome,
            "code": timeline.error.code if timeline.error else None,
            "ttft": summary.ttft,
            "total": summary.total,
            "prompt_tokens": summary.prompt_tokens,
            "cached_tokens": summary.cached_tokens,
            "tokens": summary.tokens,
            "stages": {name: round(ms, 3) for name, ms in stage_durations(timeline, timeline.end_ms or 0.0).items()},
        }
        self._write(line)

    def refused(self, refusal: Refusal) -> None:
        """See `Observer.refused`. Its message may quote what was asked, so it stays out."""
        self._write({"status": refusal.status, "code": refusal.code})

    def _write(self, line: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError):  # a full disk ends no answer
            self._file.write(_ENCODER.encode({"time": now} | line) + b"\n")


@contextmanager
def opened(path: str) -> Iterator[tuple[AccessLog, ...]]:
    """The log in the file `path`, made for its owner only; "-" is standard error, "" none. Raises ConfigError."""
    if not path:
        yield ()
    elif path == "-":
        with os.fdopen(os.dup(sys.stderr.fileno()), "wb", buffering=0) as file:
            yield (AccessLog(file),)
    else:
        place = Path(path).expanduser()
        try:
            file = os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"{place}: the log of requests (serve.log) cannot be opened: {error.strerror}") from None
        with file:
            yield (AccessLog(file),)
