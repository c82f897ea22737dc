"""Why one stage of an answer took long, and what to do about it: the debugging rule, stage by stage. Pure.

High TTFT: prompt size, cache miss, queueing, network, retrieval. Slow generation: model size, batch, speculation,
context depth.
"""

from __future__ import annotations

import msgspec

from backends.telemetry.prompt_print import Parting, parting
from backends.telemetry.stages import Stage
from backends.telemetry.timeline import Timeline

SMALL_PROMPT = 200
"""Tokens below which a cache hit would save nothing worth mentioning."""

LONG_PROMPT = 800
"""Tokens from which the length of what is read is to blame rather than the speed."""

GOOD_SHARE = 0.5
"""The share of a prompt that is cached when the cache works."""

KEPT_ENOUGH = 0.5
"""The share of drafted tokens from which speculation pays, whatever the model."""

DEEP = 8_000
"""Tokens of context from which attention, and not the weights, sets the pace."""

UNEVEN = 4.0
"""How many times the median gap the P95 gap is when others interrupt the answer."""


class Finding(msgspec.Struct, frozen=True):
    """One cause: how many milliseconds it took, what it is, with the numbers, and the next step (may be empty)."""

    ms: float
    what: str
    step: str


_STEPS: dict[Stage, tuple[str, str]] = {
    "retry": ("tries that failed before one was answered", "see `llmchat backends`, and the server's log"),
    "connect": (
        "opening the connection (name, TCP, TLS)",
        "a connection that stays open costs this once: keep the chat running, or raise the server's keep-alive",
    ),
    "network_in": (
        "the way there and back",
        "ask a server that is nearer, or look at the proxy between: this is not the model",
    ),
    "server_wait": (
        "the server before its first byte",
        "it does not say what it did: switch on its metrics, or look at its queue and prompt cache",
    ),
    "first_byte": ("from the server's first byte to its first token", "the server sends before it has read the prompt"),
    "auth": ("authentication", "a token that is valid for longer, or a check that is nearer"),
    "retrieval": (
        "searching the documents",
        "a smaller top_k or a smaller folder; `llmchat index` builds the index beforehand",
    ),
    "reranking": ("reranking what was found", "fewer passages to rerank, or none: rerank = false"),
    "context_assembly": ("assembling the context", "fewer or shorter passages (top_k, token_budget)"),
    "model_load": (
        "loading the model",
        "keep it loaded: leave an llmchat open, or raise the server's keep_alive",
    ),
    "decode_first_token": ("decoding the first token", "a smaller or more quantized model"),
}


def before_first_token(stage: Stage | None, ms: float, timeline: Timeline, earlier: Timeline | None) -> Finding:
    """Why `stage` (None: what no stage accounts for) kept the first token waiting for `ms`."""
    if stage == "prefill":
        return _prefill(ms, timeline, earlier)
    if stage == "provider_queue":
        return _queue(ms, timeline)
    if stage is None:
        return Finding(
            ms,
            "no stage accounts for it: the backend does not say",
            "a backend that reports its stages (llmchat serve; llama-server; vLLM with --enable-per-request-metrics)",
        )
    what, step = _STEPS.get(stage, (stage.replace("_", " "), ""))
    return Finding(ms, what, step)


def _queue(ms: float, timeline: Timeline) -> Finding:
    place = f", at place {timeline.queue_position} of it" if timeline.queue_position else ""
    return Finding(
        ms,
        f"waiting in the queue{place}",
        'more streams at a time (max_streams), another backend, or feature = "batch" for what can wait',
    )


def _prefill(ms: float, timeline: Timeline, earlier: Timeline | None) -> Finding:
    usage = timeline.usage
    tokens, cached = usage.prompt_tokens, usage.cached_tokens
    if tokens is None:
        return Finding(ms, "reading the prompt", "the backend does not say how long it is: shorten it and compare")
    fresh = tokens - (cached or 0)
    speed = f" at {1000 * fresh / ms:,.0f} tokens/s" if ms > 0 and fresh > 0 else ""
    if cached is None:
        what = f"reading a prompt of {tokens:,} tokens{speed}; the backend does not say what it had cached"
        return Finding(ms, what, "a shorter prompt: fewer or shorter passages, an older part of the conversation less")
    what = f"reading {fresh:,} of {tokens:,} prompt tokens{speed}, {cached:,} cached"
    if not missed(tokens, cached):
        long = "what is new is long: fewer or shorter passages" if fresh >= LONG_PROMPT else "that is not much to read"
        return Finding(ms, what, f"{long}; a smaller model, a GPU or more threads read faster")
    why, step = _miss(timeline, earlier, tokens)
    return Finding(ms, f"{what}; {why}", step)


def missed(tokens: int, cached: int) -> bool:
    """Whether the prefix cache should have held more of a prompt of so many `tokens`."""
    return tokens - cached >= SMALL_PROMPT and cached < GOOD_SHARE * tokens


def why_missed(timeline: Timeline, earlier: Timeline | None, tokens: int) -> str:
    """Why the prefix cache held so little, in the few words of a line's end; '' where that is not known."""
    if earlier is None or not earlier.prompt or not timeline.prompt:
        return ""
    if (parted := parting(earlier.prompt, timeline.prompt)) is None:
        return "the cache had let go of it"
    return f"new from token {_token(parted, tokens, timeline):,} on ({parted.role})"


def _token(parted: Parting, tokens: int, timeline: Timeline) -> int:
    """About which token that is: what is known are characters, to a block, and how many tokens were alike at least."""
    about = round(tokens * parted.before / parted.total) if parted.total else 0
    return max(about, timeline.usage.cached_tokens or 0)


def _miss(timeline: Timeline, earlier: Timeline | None, tokens: int) -> tuple[str, str]:
    """Why the prefix cache held so little, and the next step."""
    if earlier is None or not earlier.prompt:
        return "it is the first turn here, so there was nothing to reuse", "the next turn will reuse it"
    if not timeline.prompt:
        return "what the prompt began with was not kept", ""
    parted = parting(earlier.prompt, timeline.prompt)
    if parted is None:
        return (
            "the prompt only goes on where the last one ended, so the cache had let go of it",
            "ask sooner, or let the server keep more (kv_host_mib, --cache-ram, a provider's cache lifetime); some "
            "providers cache only prompts of 1,024 tokens and more",
        )
    return _parted(parted, _token(parted, tokens, timeline))


def _parted(parted: Parting, token: int) -> tuple[str, str]:
    near = f"behind character {parted.character:,}" if parted.character else "near its beginning"
    place = f"message {parted.number + 1} ({parted.role}) {near}"
    what = f"it parts from the last prompt in {place}, about token {token:,}: all behind it is read again"
    if parted.role == "system":
        return what, "what changes every time (a date, a name) belongs at the end, into the newest message"
    if parted.role == "user" and parted.number:
        return what, "an earlier question was changed, or passages before it: what was said should stay as it was"
    return what, "an earlier message was changed or left out: let the prompt only grow at its end"


def of_generation(timeline: Timeline, tpot_ms: float, tokens: int) -> Finding:
    """Why the tokens came slowly, `tpot_ms` milliseconds each."""
    usage = timeline.usage
    ms = tpot_ms * tokens
    pace = f"{tokens:,} tokens at {1000 / tpot_ms:,.1f} a second"
    drafted, kept = usage.draft_tokens, usage.accepted_tokens or 0
    if drafted and kept < KEPT_ENOUGH * drafted:
        what = f"{pace}; of {drafted:,} drafted tokens {kept:,} were right ({100 * kept / drafted:.0f} %)"
        return Finding(ms, what, "the draft model does not match: another one of the same family, or speculation off")
    depth = (usage.prompt_tokens or 0) + tokens
    used = usage.kv_used or 0
    if used > 2 * depth:
        what = f"{pace}; others were answered in the same batch (of {used:,} KV cells in use {depth:,} are its own)"
        return Finding(ms, what, "fewer streams at a time (max_streams), or another machine for batch work")
    gaps = timeline.gaps.spread()
    if gaps is not None and gaps.p95 > UNEVEN * max(gaps.p50, 1.0):
        what = f"{pace}; it came unevenly: gaps of {gaps.p50:.0f} ms at the median, {gaps.p95:.0f} ms at P95"
        return Finding(
            ms, what, "others interrupt it (prompts being read, a busy machine): see max_gap_ms, token_budget"
        )
    if depth >= DEEP:
        what = f"{pace}; every token looks back at up to {depth:,} others"
        return Finding(ms, what, "a new conversation, fewer passages, or a quantized KV cache with flash attention")
    model = f" ({usage.model})" if usage.model else ""
    return Finding(ms, f"{pace}: that is what this model{model} reaches there", "a smaller or more quantized model")


def of_length(total_ms: float, tokens: int, tpot_ms: float) -> Finding:
    """Why an answer whose tokens came quickly took long all the same."""
    return Finding(
        total_ms,
        f"a long answer: {tokens:,} tokens at {1000 / tpot_ms:,.0f} a second",
        "ask for less, or set max_tokens",
    )
