"""Why an answer was slow: in one line, and at length with the next step. Pure functions over timelines."""

from __future__ import annotations

import msgspec

from backends.config import Budget
from backends.telemetry.causes import Finding, before_first_token, missed, of_generation, of_length, why_missed
from backends.telemetry.stages import Stage
from backends.telemetry.summary import account, summarize
from backends.telemetry.timeline import Timeline

SLOW = 20.0
"""Tokens a second below which one waits for an answer while reading it (DESIGN.md, "Stages and metrics")."""

WORTH_TELLING = 0.1
"""The share of TTFT from which a stage is explained."""

FEWEST_TOKENS = 8
"""A pace is not judged by fewer."""

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


def slow_first_token(timeline: Timeline, budget_ms: float, earlier: Timeline | None = None) -> str | None:
    """One line for an answer whose TTFT broke `budget_ms`, else None. `earlier`: as for `explain`.

    ``TTFT 1.6 s: 61 % prefill of 2,950 tokens, none cached: new from token 12 on (system)``
    """
    ttft = timeline.first_token_ms
    if ttft is None or ttft <= budget_ms:
        return None
    bill = account(timeline.spans(ttft), ttft)
    stage, cost = max(bill.parts, key=lambda part: part[1], default=(None, 0.0))
    if stage is None or bill.unattributed > cost:
        return f"TTFT {duration(ttft)}: {_percent(bill.unattributed, ttft)} unattributed, the backend does not say"
    what = _prefill(timeline, earlier) if stage == "prefill" else _WORDS.get(stage, stage)
    return f"TTFT {duration(ttft)}: {_percent(cost, ttft)} {what}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


def _prefill(timeline: Timeline, earlier: Timeline | None) -> str:
    tokens, cached = timeline.usage.prompt_tokens, timeline.usage.cached_tokens
    if tokens is None:
        return "prefill"
    if cached is None:
        return f"prefill of {tokens:,} tokens"
    words = f"prefill of {tokens:,} tokens, {f'{cached:,}' if cached else 'none'} cached"
    why = why_missed(timeline, earlier, tokens) if missed(tokens, cached) else ""
    return f"{words}: {why}" if why else words


class Explanation(msgspec.Struct, frozen=True):
    """`verdict` in one line, and what led to it, the costliest first; none of it where the answer was fast enough."""

    verdict: str
    findings: tuple[Finding, ...]


def explain(timeline: Timeline, budget: Budget, earlier: Timeline | None = None) -> Explanation:
    """Why the turn of `timeline` was slow, held against `budget`.

    `earlier`: the turn whose prompt the prefix cache may have held. It tells where the two prompts part.
    """
    summary = summarize(timeline)
    findings: list[Finding] = []
    ttft, total = summary.ttft, summary.total
    if ttft is None and total is not None and timeline.outcome != "cancelled":
        return Explanation(f"no token came in {duration(total)}{_ending(timeline)}", ())
    if ttft is not None and ttft > budget.ttft_ms:
        bill = account(timeline.spans(ttft), ttft)
        parts: list[tuple[Stage | None, float]] = [*bill.parts, (None, bill.unattributed)]
        costly = sorted((part for part in parts if part[1] >= WORTH_TELLING * ttft), key=lambda part: -part[1])
        findings += [before_first_token(stage, ms, timeline, earlier) for stage, ms in costly]
    if summary.tpot is not None and summary.tokens >= FEWEST_TOKENS:
        if 1000 / summary.tpot < SLOW:
            findings.append(of_generation(timeline, summary.tpot, summary.tokens))
        elif total is not None and total > budget.total_ms and summary.tokens * summary.tpot > total / 2:
            findings.append(of_length(summary.tokens * summary.tpot, summary.tokens, summary.tpot))
    return Explanation(_verdict(ttft, total, budget) + _ending(timeline), tuple(findings))


def _verdict(ttft: float | None, total: float | None, budget: Budget) -> str:
    parts = []
    for name, ms, limit in (("TTFT", ttft, budget.ttft_ms), ("total", total, budget.total_ms)):
        if ms is not None:
            side = "above" if ms > limit else "within"
            parts.append(f"{name} {duration(ms)}, {side} its budget of {duration(limit)}")
    return "; ".join(parts) or "nothing was measured"


def _ending(timeline: Timeline) -> str:
    if timeline.error is not None:
        return f"; it ended with {timeline.error.code}: {timeline.error.message}"
    return "" if timeline.outcome == "complete" else f"; it was {timeline.outcome}"


def slow_generation(timeline: Timeline) -> str | None:
    """One line for an answer whose tokens came slowly, else None."""
    summary = summarize(timeline)
    if summary.tpot is None or summary.tokens < FEWEST_TOKENS or 1000 / summary.tpot >= SLOW:
        return None
    return of_generation(timeline, summary.tpot, summary.tokens).what
