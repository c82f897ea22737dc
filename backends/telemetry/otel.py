"""Finished timelines as OpenTelemetry traces and metrics, sent to an OTLP/HTTP collector. An extra: ``llmchat[otel]``.

A request is a span, its stages are the spans inside it. Names and attributes are those of the semantic conventions for
generative AI (github.com/open-telemetry/semantic-conventions-genai, status "Development"), stages beside them as
``llmchat.stage.NAME``. Neither prompts nor answers are sent. `Exporter` is for whoever serves (side "server") and for a
client that measures what it got ("client"): the same timeline, the convention's other names.

Importing this module is cheap; the SDK is loaded by `Exporter`, whose threads do the sending.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from backends.telemetry.summary import Summary, summarize
from backends.telemetry.timeline import Outcome, Timeline

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter

Side = Literal["server", "client"]
Attributes = dict[str, str | int | float | tuple[str, ...]]

_OPERATION = "chat"
_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(4.0**power for power in range(14))

_FINISH: dict[Outcome, str] = {"complete": "stop", "truncated": "length", "cancelled": "cancelled"}
_TIMEOUT_S = 2.0


class Instruments(msgspec.Struct, frozen=True):
    """The convention's names of what is measured, by side. Seconds."""

    duration: str
    first: str
    each: str


INSTRUMENTS: dict[Side, Instruments] = {
    "server": Instruments(
        "gen_ai.server.request.duration", "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token"
    ),
    "client": Instruments(
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
    ),
}


class Piece(msgspec.Struct, frozen=True):
    """A span to be: milliseconds from the request's arrival."""

    name: str
    begin: float
    end: float
    attributes: Attributes


def request_attributes(timeline: Timeline, summary: Summary, backend: str) -> Attributes:
    """What every measurement and the span of a request carry. `backend`: who answers, as it is configured."""
    found: Attributes = {"gen_ai.operation.name": _OPERATION, "gen_ai.provider.name": backend}
    if summary.model is not None:
        found["gen_ai.response.model"] = summary.model
    if timeline.error is not None and summary.outcome in ("failed", "interrupted"):
        found["error.type"] = timeline.error.code
    return found


def span_attributes(timeline: Timeline, summary: Summary) -> Attributes:
    """What the span of a request carries besides."""
    usage = timeline.usage
    told: dict[str, str | int | float | tuple[str, ...] | None] = {
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": timeline.asked.token_limit or None,
        "gen_ai.response.id": usage.request_id,
        "gen_ai.response.finish_reasons": (_FINISH.get(summary.outcome, "error"),),
        "gen_ai.response.time_to_first_chunk": None if summary.ttft is None else summary.ttft / 1000,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": summary.tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "llmchat.feature": timeline.asked.feature,
        "llmchat.draft_tokens": usage.draft_tokens,
        "llmchat.accepted_tokens": usage.accepted_tokens,
    }
    return {name: value for name, value in told.items() if value is not None}


def stage_pieces(timeline: Timeline) -> list[Piece]:
    """A span for each stage, as it was measured."""
    end = timeline.end_ms or 0.0
    return [
        Piece(f"llmchat.stage.{span.stage}", span.offset, span.end, {"llmchat.measured_by": span.by})
        for span in timeline.spans(end)
    ]


class Exporter:
    """Sends what is recorded to a collector, from threads of its own. A collector that is away costs nothing but a log
    line. Raises ImportError where the SDK is not installed."""

    def __init__(
        self, endpoint: str, side: Side, *, backend: str = "llmchat", version: str = "", timeout: float = _TIMEOUT_S
    ) -> None:
        """`endpoint`: the collector's URL, without ``/v1/traces``. `backend`: who answers. `timeout`: seconds for which
        it is tried to send something, and so how long `close` may take."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        base = endpoint.rstrip("/")
        resource = Resource.create({"service.name": "llmchat", "service.version": version})
        self._backend = backend
        self._side = side
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", timeout=timeout)))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics", timeout=timeout))
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._traces.get_tracer("llmchat", version)
        self._meters = _meters(self._metrics.get_meter("llmchat", version), INSTRUMENTS[side])

    def record(self, timeline: Timeline, traceparent: str = "", ended: float | None = None) -> None:
        """A turn that ended at `ended`, in seconds since the epoch (None: now).

        `traceparent`: the W3C header of a request that belongs to somebody's trace.
        """
        summary = summarize(timeline)
        common = request_attributes(timeline, summary, self._backend)
        self._measure(summary, common)
        self._trace(timeline, common | span_attributes(timeline, summary), traceparent, ended)

    def flush(self) -> None:
        """Send what is recorded, and wait for it: what does not fit the queue is dropped."""
        self._traces.force_flush()

    def close(self) -> None:
        """Send what is left."""
        self._traces.shutdown()
        self._metrics.shutdown()

    def _measure(self, summary: Summary, common: Attributes) -> None:
        times = {"duration": summary.total, "first": summary.ttft, "each": summary.tpot}
        for name, ms in times.items():
            if ms is not None:
                self._meters[name].record(ms / 1000, common)
        for kind, tokens in (("input", summary.prompt_tokens), ("output", summary.tokens)):
            if tokens:
                self._meters["tokens"].record(tokens, common | {"gen_ai.token.type": kind})

    def _trace(self, timeline: Timeline, attributes: Attributes, traceparent: str, ended: float | None) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        now = time.time_ns() if ended is None else round(1e9 * ended)
        arrived = now - _ns(timeline.end_ms or 0.0)
        outer = TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})
        kind = SpanKind.SERVER if self._side == "server" else SpanKind.CLIENT
        name = " ".join((_OPERATION, str(attributes.get("gen_ai.response.model", "")))).strip()
        root = self._tracer.start_span(name, outer, kind, attributes, start_time=arrived)
        inside = set_span_in_context(root)
        for piece in stage_pieces(timeline):
            span = self._tracer.start_span(
                piece.name, inside, attributes=piece.attributes, start_time=arrived + _ns(piece.begin)
            )
            span.end(arrived + _ns(piece.end))
        if "error.type" in attributes:
            root.set_status(Status(StatusCode.ERROR, str(attributes["error.type"])))
        root.end(arrived + _ns(timeline.end_ms or 0.0))


def _meters(meter: Meter, names: Instruments) -> dict[str, Histogram]:
    def seconds(name: str, borders: tuple[float, ...]) -> Histogram:
        return meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=borders)

    return {
        "duration": seconds(names.duration, _DURATION),
        "first": seconds(names.first, _FIRST),
        "each": seconds(names.each, _EACH),
        "tokens": meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=_TOKENS
        ),
    }


def _ns(ms: float) -> int:
    return round(ms * 1_000_000)
