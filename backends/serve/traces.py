"""The service's requests as OpenTelemetry traces and metrics (`backends.telemetry.otel`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backends.errors import ConfigError
from backends.serve.replies import Refusal
from backends.serve.stream import Stream
from backends.telemetry.otel import Exporter


class Traces:
    """An `Observer` that exports."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def ended(self, stream: Stream) -> None:
        """See `Observer.ended`."""
        self._exporter.record(stream.timeline, stream.caller.traceparent)

    def refused(self, refusal: Refusal) -> None:
        """See `Observer.refused`; what was never worked on is no operation."""


@contextmanager
def exporting(endpoint: str, backend: str, version: str) -> Iterator[tuple[Traces, ...]]:
    """Export to the collector at `endpoint`; "" is none. Raises ConfigError where OpenTelemetry is not installed."""
    if not endpoint:
        yield ()
        return
    try:
        exporter = Exporter(endpoint, "server", backend=backend, version=version)
    except ImportError:
        message = "serve.otel_endpoint needs OpenTelemetry: pip install 'llmchat[otel]'"
        raise ConfigError(message) from None
    try:
        yield (Traces(exporter),)
    finally:
        exporter.close()
