"""Why an answer was slow, in one line, from its timeline. Pure functions."""

from __future__ import annotations

from backends.events import Meta
from backends.telemetry.stages import Stage
from backends.telemetry.summary import account
from backends.telemetry.timeline import Timeline

_WORDS: dict[Stage, str] = {
    "retry": "tries that failed",
    "connect": "opening the connection",
    "network_in": "the network",
    "server_wait": "waiting for the server, which does not say what it did",
    "first_byte": "waiting for the first byte of the answer",
    "auth": "authentication",
    "retrieval": "retrieval",
    "reranking": "reranking",
    "context_assembly": "assembling the context",
    "model_load": "loading the model",
    "provider_queue": "waiting in the queue",
    "decode_first_token": "decoding the first token",
}


def duration(ms: float) -> str:
    """Milliseconds for people: ``85 ms``, ``1.6 s``, ``2 min 5 s``."""
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 99_950:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes} min {seconds} s"


def slow_first_token(timeline: Timeline, budget_ms: float) -> str | None:
    """One line for an answer whose TTFT broke `budget_ms`, else None.

    ``TTFT 1.6 s: 61 % prefill of 2,950 tokens, none cached``
    """
    ttft = timeline.first_token_ms
    if ttft is None or ttft <= budget_ms:
        return None
    bill = account(timeline.spans(ttft), ttft)
    stage, cost = max(bill.parts, key=lambda part: part[1], default=(None, 0.0))
    if stage is None or bill.unattributed > cost:
        return f"TTFT {duration(ttft)}: {_percent(bill.unattributed, ttft)} unattributed, the backend does not say"
    what = _prefill(timeline.usage) if stage == "prefill" else _WORDS.get(stage, stage)
    return f"TTFT {duration(ttft)}: {_percent(cost, ttft)} {what}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _prefill(usage: Meta) -> str:
    if usage.prompt_tokens is None:
        return "prefill"
    cached = usage.cached_tokens
    tail = "" if cached is None else (f", {cached:,} cached" if cached else ", none cached")
    return f"prefill of {usage.prompt_tokens:,} tokens{tail}"
