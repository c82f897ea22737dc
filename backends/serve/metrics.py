"""``GET /metrics``: Prometheus (DESIGN.md, "Stages and metrics"). Seconds and tokens; buckets as vLLM has them, the
budgets and alert thresholds of DESIGN.md among them.

Importing it loads prometheus_client, so that only who serves the public does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate, pairwise

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from backends.backend import Feature
from backends.config import Budget
from backends.errors import Code
from backends.events import Meta
from backends.serve.replies import Refusal
from backends.serve.server_timing import stage_durations
from backends.serve.stream import Stream
from backends.serve.streams import Streams
from backends.telemetry.summary import Summary, summarize
from backends.telemetry.timeline import Timeline

FIRST_TOKEN = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 60.0)
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOTAL = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
STAGE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads

_TOKENS = {
    "prompt_tokens": "Tokens of prompts.",
    "cached_tokens": "Of them: in the prefix cache.",
    "completion_tokens": "Tokens of answers.",
    "draft_tokens": "Tokens proposed by a draft.",
    "accepted_tokens": "Of them: kept.",
}
_CODE = re.compile(r"HTTP_\d{3}\Z")


class Metrics:
    """An `Observer` that counts, and the page that tells."""

    def __init__(self, streams: Streams, budget: Callable[[Feature], Budget]) -> None:
        """`streams`: those that run. `budget`: what an answer may take, by feature."""
        self._budget = budget
        self._registry = it = CollectorRegistry()
        self._now, self._gaps = _Now(streams), _Gaps()
        it.register(self._now)
        histogram, counter, by_feature = partial(Histogram, registry=it), partial(Counter, registry=it), ("feature",)
        words = "From a request's arrival to its first token."
        self._ttft = histogram("llmchat_time_to_first_token_seconds", words, by_feature, buckets=FIRST_TOKEN)
        words = "By request: (last token - first token) / (tokens - 1)."
        self._tpot = histogram("llmchat_time_per_output_token_seconds", words, by_feature, buckets=PER_TOKEN)
        words = "From a request's arrival to its last event."
        self._total = histogram("llmchat_request_duration_seconds", words, by_feature, buckets=TOTAL)
        words = "By stage of a request."
        self._stages = histogram("llmchat_stage_duration_seconds", words, ("stage",), buckets=STAGE)
        it.register(self._gaps)
        self._requests = counter("llmchat_requests", "Streams that ended, by how they did.", ("feature", "outcome"))
        words = "Of them: complete within both budgets."
        self._good = counter("llmchat_requests_within_budget", words, by_feature)
        self._errors = counter("llmchat_errors", "Streams that ended with an error.", ("code",))
        self._refusals = counter("llmchat_refusals", "Requests answered by an HTTP error.", ("status",))
        self._tokens = {field: counter(f"llmchat_{field}", words) for field, words in _TOKENS.items()}

    def ended(self, stream: Stream) -> None:
        """See `Observer.ended`."""
        timeline, feature = stream.timeline, stream.request.feature
        summary = summarize(timeline)
        is_left = stream.ending == "disconnect"  # which is how clients of OpenAI's API cancel
        self._requests.labels(feature, "cancelled" if is_left else summary.outcome).inc()
        if timeline.error is not None and not is_left:
            self._errors.labels(_known(timeline.error.code)).inc()
        for histogram, ms in ((self._ttft, summary.ttft), (self._tpot, summary.tpot), (self._total, summary.total)):
            if ms is not None:
                histogram.labels(feature).observe(ms / 1000)
        for stage, ms in stage_durations(timeline, timeline.end_ms or 0.0).items():
            self._stages.labels(stage).observe(ms / 1000)
        self._gaps.add(timeline.chunk_ms)
        for field, counter in self._tokens.items():
            counter.inc(getattr(timeline.usage, field) or 0)
        if self._is_good(stream, summary):
            self._good.labels(feature).inc()
        self._now.told(timeline.usage)

    def refused(self, refusal: Refusal) -> None:
        """See `Observer.refused`."""
        self._refusals.labels(str(refusal.status)).inc()

    def page(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /metrics."""
        headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.page()})

    def _is_good(self, stream: Stream, summary: Summary) -> bool:
        budget = self._budget(stream.request.feature)
        if summary.outcome not in ("complete", "truncated") or summary.ttft is None or summary.total is None:
            return False
        return summary.ttft <= budget.ttft_ms and summary.total <= budget.total_ms


class _Gaps(Collector):
    """Gaps between chunks. Counted by hand: an answer has thousands, and they come when all of it is over."""

    def __init__(self) -> None:
        self._counts = [0] * (len(PER_TOKEN) + 1)
        self._sum = 0.0

    def add(self, chunk_ms: Iterable[float]) -> None:
        """The gaps between these times, in milliseconds."""
        for before, after in pairwise(chunk_ms):
            gap = max(0.0, after - before) / 1000
            self._counts[bisect_left(PER_TOKEN, gap)] += 1
            self._sum += gap

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        borders = [*(str(border) for border in PER_TOKEN), "+Inf"]
        buckets = list(zip(borders, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(
            "llmchat_inter_token_latency_seconds", "Gaps between pieces of an answer.", buckets, self._sum
        )


class _Now(Collector):
    """What is so at the moment: streams by state, and the KV cache as the backend last told."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._kv: tuple[int, int] | None = None

    def told(self, usage: Meta) -> None:
        """Take in what a stream knows of the KV cache."""
        if usage.kv_used is not None and usage.kv_cells:
            self._kv = usage.kv_used, usage.kv_cells

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        states = GaugeMetricFamily("llmchat_streams", "Streams that have not ended, by state.", labels=["state"])
        counts = {"running": 0, "queued": 0, "parked": 0}
        for stream in self._streams:
            counts["parked" if stream.parked else _state(stream.timeline)] += 1
            self.told(stream.timeline.usage)
        for state, count in counts.items():
            states.add_metric([state], count)
        yield states
        if self._kv is not None:
            used, cells = self._kv
            yield GaugeMetricFamily("llmchat_kv_cells_used", "Cells of the KV cache in use.", used)
            yield GaugeMetricFamily("llmchat_kv_cells", "Cells of the KV cache.", cells)


def _state(timeline: Timeline) -> str:
    waits = timeline.first_token_ms is None and timeline.status is not None and timeline.status.status == "queued"
    return "queued" if waits else "running"


def _known(code: str) -> str:
    """`code`, if it is one of the few there are: a label must not grow with what others send."""
    return code if code in set(Code) or _CODE.match(code) else "other"
