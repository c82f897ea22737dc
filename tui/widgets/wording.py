"""The words for stages and statuses, one place for the whole screen."""

from __future__ import annotations

import re
from typing import Any, Literal

from backends.events import Status, StatusName
from backends.telemetry.explain import duration
from backends.telemetry.stages import Stage
from backends.telemetry.timeline import Outcome, Timeline
from tui.widgets.plain import plain

STAGE_LABELS: dict[Stage, str] = {
    "retry": "failed tries",
    "connect": "connect",
    "dns": "· DNS",
    "tcp": "· TCP",
    "tls": "· TLS",
    "network_in": "network in",
    "server_wait": "server wait",
    "first_byte": "first byte",
    "auth": "auth",
    "retrieval": "retrieval",
    "reranking": "reranking",
    "context_assembly": "context",
    "model_load": "model load",
    "provider_queue": "queue",
    "prefill": "prefill",
    "decode_first_token": "first token",
    "total_generation": "generation",
    "network_out": "network out",
    "render": "render",
}
"""At most 12 characters each: the panel's first column."""

STAGE_MEANINGS: dict[Stage, str] = {
    "retry": "tries before this one, and the waits between them",
    "connect": "opening the connection to the server",
    "dns": "finding its address",
    "tcp": "reaching it",
    "tls": "agreeing on keys",
    "network_in": "the request's way to the server; a difference of two measurements",
    "server_wait": "until the server answers; what it does meanwhile it does not say",
    "first_byte": "from its first word to the first piece of the answer",
    "auth": "checking the key",
    "retrieval": "searching the documents",
    "reranking": "putting the passages found into order",
    "context_assembly": "choosing what fits into the prompt",
    "model_load": "reading the weights",
    "provider_queue": "waiting for a free slot, or for somebody else's prefix",
    "prefill": "the model reads the prompt; what is cached is not read again",
    "decode_first_token": "the model makes its first token",
    "total_generation": "from the first token to the last",
    "network_out": "the answer's way back",
    "render": "drawing it here",
}

_STATUS_WORDS: dict[StatusName, str] = {
    "connecting": "connecting",
    "retrying": "trying again",
    "waiting": "waiting for the server",
    "loading": "loading the model",
    "queued": "queued",
    "retrieving": "retrieving",
    "reranking": "reranking",
    "assembling": "assembling the context",
    "prefilling": "prefilling",
    "generating": "generating",
}

Tone = Literal["quiet", "busy", "good", "warn", "bad"]

OUTCOME_WORDS: dict[Outcome, tuple[str, Tone]] = {
    "running": ("running", "busy"),
    "complete": ("complete", "good"),
    "truncated": ("truncated", "warn"),
    "cancelled": ("cancelled", "warn"),
    "interrupted": ("interrupted", "bad"),
    "failed": ("failed", "bad"),
}


def backend_words(table: dict[str, Any]) -> str:
    """What a ``[backends.NAME]`` table is, in one line: ``openai · qwen · http://gpu-box:8000/v1``; no credentials."""
    parts = [str(table[key]) for key in ("type", "model", "url", "documents") if table.get(key)]
    over = table.get("over", ())
    parts += [str(entry.get("backend", "") if isinstance(entry, dict) else entry) for entry in over]
    return re.sub(r"//[^/@]*@", "//", plain(" · ".join(parts)))


def doing(timeline: Timeline, *, brief: bool = False) -> str:
    """What a turn waits for now, before its first token or in the midst of it, or what there is to say of how it is
    generated, or ended."""
    status, first = timeline.status, timeline.first_token_ms
    if timeline.outcome != "running":
        return plain(timeline.detail)
    if status is None:
        return "" if first is not None else "waiting for the backend"
    stands = first is None or (status.status != "generating" and timeline.status_ms > (timeline.last_token_ms or first))
    return describe(status, brief=brief) if stands else plain(timeline.detail)


def describe(status: Status, *, brief: bool = False) -> str:
    """What a waiting request waits for: ``Step 2 of 3: reranking`` (`brief`: ``2/3 reranking``),
    ``loading the model 45 %``."""
    words = _STATUS_WORDS[status.status]
    if status.status == "loading" and status.total:
        words += f" {100 * status.done / status.total:.0f} %"
    elif status.status == "prefilling" and status.total:
        words += f" {status.done:,} of {status.total:,} tokens"
    elif status.status == "queued" and status.position:
        words += f", place {status.position}"
    detail = status.detail
    if status.status == "queued" and status.expected_ms:
        words += f", about {duration(status.expected_ms)}"
        detail = ""  # for who does not read the number
    if status.passages:
        words += f", {len(status.passages)} found"
    if detail:
        words += f" ({plain(detail)})"
    if not status.steps:
        return words
    return f"{status.step}/{status.steps} {words}" if brief else f"Step {status.step} of {status.steps}: {words}"
