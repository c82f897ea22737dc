"""What the loop tells about a sequence: how far its prompt is, where the time went, what it cost."""

from __future__ import annotations

from backends.engine.gpu_memory import Memory
from backends.engine.load import ModelInfo
from backends.engine.sequence import Sequence
from backends.events import Meta, Status
from backends.telemetry.stages import Span


def prefilling(it: Sequence) -> Status:
    """How much of the prompt is computed."""
    done = min(it.computed, it.prompt_tokens)
    return Status("prefilling", total=it.prompt_tokens, done=done, cached=it.cached)


def first_meta(it: Sequence, info: ModelInfo, kv_used: int, gpu: Memory | None) -> Meta:
    """What is known when the first token is: the stages that led to it, and the state of the KV cache."""
    assert it.started_ms is not None
    assert it.prefilled_ms is not None
    assert it.first_token_ms is not None
    marks = [0.0, it.loaded_ms, it.started_ms, it.prefilled_ms, it.first_token_ms]
    spans = (
        Span("model_load", marks[0], marks[1] - marks[0]),
        Span("provider_queue", marks[1], marks[2] - marks[1]),
        Span("prefill", marks[2] + it.parked_ms, marks[3] - marks[2] - it.parked_ms),
        Span("decode_first_token", marks[3], marks[4] - marks[3]),
    )
    return Meta(
        model=info.name,
        latency=it.first_token_ms,
        prompt_tokens=it.prompt_tokens,
        cached_tokens=it.cached,
        warmed_tokens=it.ahead or None,
        kv_used=kv_used,
        kv_cells=info.kv_cells,
        kv_bytes_per_token=info.kv_bytes_per_token,
        gpu_used=gpu and gpu.used,
        gpu_total=gpu and gpu.total,
        spans=spans if it.loaded_ms else spans[1:],
    )


def drafts_meta(it: Sequence) -> Meta:
    """How many tokens were drafted for it so far, and how many of them it kept."""
    return Meta(draft_tokens=it.draft_tokens, accepted_tokens=it.accepted_tokens)


def last_meta(it: Sequence, now: float, kv_used: int, kv_cells: int) -> Meta:
    """What the answer took; `now` is its end, in milliseconds since the request's arrival."""
    assert it.first_token_ms is not None
    return Meta(
        latency=now,
        prompt_tokens=it.prompt_tokens,
        completion_tokens=it.completion_tokens,
        reasoning_tokens=it.text.reasoning_tokens or None,
        draft_tokens=it.draft_tokens or None,
        accepted_tokens=it.accepted_tokens if it.draft_tokens else None,
        kv_used=kv_used,
        kv_cells=kv_cells,
        spans=(Span("total_generation", it.first_token_ms, now - it.first_token_ms),),
    )


def left_out(it: Sequence) -> str:
    """What an answer that went on in a full context could no longer see."""
    return f"the {it.left_out:,} oldest tokens were left out: the context holds {it.window:,}"


def context_full(n_ctx: int) -> str:
    """Why an answer ends that has used all of the context."""
    return f"the context of {n_ctx:,} tokens is full: start a new conversation, or raise n_ctx"
