"""Timelines as OpenTelemetry has them: sent by the real SDK, received by a collector that reads OTLP."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.otel import INSTRUMENTS, Exporter, Side
from backends.telemetry.stages import Span
from backends.telemetry.timeline import Asked, Timeline

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANSWER = (
    (1.0, Status("queued", position=1)),
    (50.0, Meta("tiny", 50.0, request_id="r1", prompt_tokens=20, cached_tokens=15)),
    (50.0, Meta(spans=(Span("provider_queue", 1.0, 10.0), Span("prefill", 11.0, 39.0)))),
    (50.0, Token("a")),
    (150.0, Token("b", 2)),
    (160.0, Meta(completion_tokens=3)),
)


class Collector:
    """What came in."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}

    def take(self, path: str, body: bytes) -> None:
        """One export."""
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans |= {span.name: span for scope in resource.scope_spans for span in scope.spans}
        else:
            for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name: metric for scope in each.scope_metrics for metric in scope.metrics}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An OTLP/HTTP collector on loopback."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def exporter(url: str, side: Side = "server") -> Iterator[Exporter]:
    """An exporter that has sent all it has when the block ends."""
    made = Exporter(url, side, backend="demo", version="1")
    try:
        yield made
    finally:
        made.close()


def timeline(*events: tuple[float, Event]) -> Timeline:
    """A turn in which these came."""
    made = Timeline(asked=Asked(token_limit=100))
    for at, event in events:
        made.add(event, at)
    return made


def attributes(of: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    kinds = {each.key: each.value for each in of.attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in kinds.items()}


def test_a_request_and_its_stages(collector: Collector) -> None:
    with exporter(collector.url) as sender:
        sender.record(timeline(*ANSWER, (160.0, Done(3, 160.0, "length"))), TRACE)

    root = collector.spans.pop("chat tiny")
    assert root.trace_id.hex() == TRACE.split("-")[1]
    assert root.parent_span_id.hex() == TRACE.split("-")[2]
    assert root.kind == 2  # SERVER
    assert (root.end_time_unix_nano - root.start_time_unix_nano) / 1e6 == pytest.approx(160.0, abs=0.001)
    told = attributes(root)
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "demo")
    assert (told["gen_ai.response.model"], told["gen_ai.response.id"]) == ("tiny", "r1")
    assert told["gen_ai.request.max_tokens"] == 100
    assert told["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.05)
    assert [value.string_value for value in told["gen_ai.response.finish_reasons"].values] == ["length"]
    usage = {key.removeprefix("gen_ai.usage."): value for key, value in told.items() if key.startswith("gen_ai.usage.")}
    assert usage == {"input_tokens": 20, "output_tokens": 3, "cache_read.input_tokens": 15}

    stages = {name.removeprefix("llmchat.stage."): span for name, span in collector.spans.items()}
    assert {"provider_queue", "prefill", "total_generation"} <= set(stages)
    prefill = stages["prefill"]
    assert prefill.parent_span_id == root.span_id
    assert (prefill.start_time_unix_nano - root.start_time_unix_nano) / 1e6 == pytest.approx(11.0, abs=0.001)
    assert (prefill.end_time_unix_nano - prefill.start_time_unix_nano) / 1e6 == pytest.approx(39.0, abs=0.001)
    assert attributes(prefill) == {"llmchat.measured_by": "server"}


@pytest.mark.parametrize("side", ["server", "client"])
def test_its_measurements(collector: Collector, side: Side) -> None:
    with exporter(collector.url, side) as sender:
        sender.record(timeline(*ANSWER, (160.0, Done(3, 160.0))))

    names = INSTRUMENTS[side]
    assert set(collector.metrics) == {names.duration, names.first, names.each, "gen_ai.client.token.usage"}
    for name, seconds in ((names.duration, 0.16), (names.first, 0.05), (names.each, 0.05)):
        assert name.startswith(f"gen_ai.{side}.")
        (point,) = collector.metrics[name].histogram.data_points
        assert (point.count, point.sum) == (1, pytest.approx(seconds))
        assert collector.metrics[name].unit == "s"
        assert attributes(point)["gen_ai.response.model"] == "tiny"
    points = collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    assert {attributes(point)["gen_ai.token.type"]: point.sum for point in points} == {"input": 20, "output": 3}


def test_an_error(collector: Collector) -> None:
    with exporter(collector.url) as sender:
        sender.record(timeline((5.0, Error("OVERLOADED", "secret words"))))

    root = collector.spans["chat"]
    assert (attributes(root)["error.type"], root.status.code) == ("OVERLOADED", 2)
    (point,) = collector.metrics["gen_ai.server.request.duration"].histogram.data_points
    assert attributes(point)["error.type"] == "OVERLOADED"
    assert b"secret" not in root.SerializeToString()


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    done = threading.Event()

    def send() -> None:
        with contextlib.closing(Exporter("http://127.0.0.1:9", "server", timeout=0.1)) as sender:
            sender.record(timeline(*ANSWER, (160.0, Done(3, 160.0))))
        done.set()

    threading.Thread(target=send).start()
    assert done.wait(30)


def test_a_turn_of_the_past_is_sent_as_of_then(collector: Collector) -> None:
    with exporter(collector.url, "client") as sender:
        sender.record(timeline(*ANSWER, (160.0, Done(3, 160.0))), ended=1_000_000.0)
        sender.flush()
        root = collector.spans["chat tiny"]
    assert root.end_time_unix_nano == 1_000_000 * 10**9
    assert root.kind == 3  # CLIENT
