"""The closed vocabulary of events that every backend speaks, in the process and on the wire.

The wire form is the native protocol of DESIGN.md ("Events"): the SSE event name is the struct's tag, the data is a
JSON object with the struct's fields in camelCase; fields at their default are left out. More fields may be added,
none renamed; `decode` ignores fields and events it does not know.

Every stream ends in exactly one `Done` or `Error`. A stream that ends without one was *interrupted*.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from backends.telemetry.stages import Span

StatusName = Literal[
    "connecting",
    "retrying",
    "waiting",
    "loading",
    "queued",
    "retrieving",
    "reranking",
    "assembling",
    "prefilling",
    "generating",
]
FinishReason = Literal["stop", "length", "cancelled", "interrupted", "content_filter", "tool_calls"]


class _Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Base of all events: immutable, compared by value."""


class Citation(_Event, frozen=True):
    """A passage that the answer uses: `id` is what stands in the text (``S1`` for ``[S1]``).

    `source` is the document's name, `locator` the place in it (heading, page, line), `snippet` the passage as the model
    saw it. Sent once per answer and id, when the text first uses it.
    """

    source: str
    id: str
    title: str = ""
    locator: str = ""
    snippet: str = ""


class Status(_Event, frozen=True):
    """What the request is waiting for.

    "waiting": for a server that does not say what it does. "retrying": to be sent again, since it was refused.

    `ms` is the length of the stage that this status closes, if it closes one. `step` of `steps` counts the pipeline's
    stages from 1. `done`/`total` is progress: tokens of the prompt while prefilling (of which `cached` came from the
    prefix cache), per mille of the weights while loading. `position` is the place in the queue, from 1, `expected_ms`
    how long the wait there will probably be. `passages` closes retrieving: what was found, best first, with the ids the
    model sees.
    """

    status: StatusName
    step: int = 0
    steps: int = 0
    detail: str = ""
    ms: float | None = None
    total: int = 0
    done: int = 0
    cached: int = 0
    position: int = 0
    passages: tuple[Citation, ...] = ()
    expected_ms: float | None = None


class Logprob(_Event, frozen=True):
    """The natural logarithm of a token's probability, before any filter; never below -9999.

    `token` is its text (a half character as U+FFFD), `id` its number in the vocabulary, -1 when that is not told.
    `top`: the likeliest tokens in its place, itself included if it is one of them.
    """

    token: str
    logprob: float
    id: int = -1
    top: tuple[Logprob, ...] = ()


class Token(_Event, frozen=True):
    """A piece of the answer's text; `count` tokens of it (0 when the server does not say how many).

    `logprobs`: one for each of those tokens, where the request asked for them.
    """

    text: str
    count: int = 1
    logprobs: tuple[Logprob, ...] = ()


class Reasoning(_Event, frozen=True):
    """A piece of thinking text, shown apart from the answer; `count` as in `Token`."""

    text: str
    count: int = 1


class Meta(_Event, frozen=True):
    """Usage and timing; may come more than once, later fields add to or replace earlier ones.

    `latency` is milliseconds from the request's arrival at the sender to the sending of this event, so that a client
    can place the sender's spans on its own clock. Counts are tokens; None means "not told". `draft_tokens` were
    proposed by the draft model, `accepted_tokens` of them kept. Of the prompt, `cached_tokens` came from the prefix
    cache and `cache_write_tokens` were put there, where the server charges for that; `warmed_tokens` of the cached ones
    were there since they had been computed ahead (`Backend.warm`). `cost` is in US dollars.
    `connection` says how whoever answers was reached: ``reused, HTTP/1.1``. `route`: which of several backends answers,
    and why: ``gpu: fastest, 80 ms expected``. `kv_used` of `kv_cells` cells of the KV
    cache are in use; `kv_bytes_per_token` is what one cell costs. `gpu_used` of `gpu_total` bytes of the server's GPU
    memory are in use, by whomever.
    """

    model: str | None = None
    latency: float | None = None
    request_id: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    kv_used: int | None = None
    kv_cells: int | None = None
    kv_bytes_per_token: int | None = None
    gpu_used: int | None = None
    gpu_total: int | None = None
    cache_write_tokens: int | None = None
    warmed_tokens: int | None = None
    cost: float | None = None
    connection: str | None = None
    route: str | None = None
    spans: tuple[Span, ...] = ()


class Error(_Event, frozen=True):
    """The stream failed; the text so far is kept. `code` is one of `backends.errors.Code`; `retry_after` in seconds."""

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None


class Done(_Event, frozen=True):
    """The stream is complete. `latency`: milliseconds from the request's arrival at the sender.

    `detail` says why, in words, where `finish_reason` does not say enough: that the context is full.
    """

    total_tokens: int
    latency: float
    finish_reason: FinishReason = "stop"
    detail: str = ""


Event: TypeAlias = Status | Token | Reasoning | Citation | Meta | Error | Done

_TYPES: dict[str, type[Event]] = {
    "status": Status,
    "token": Token,
    "reasoning": Reasoning,
    "citation": Citation,
    "meta": Meta,
    "error": Error,
    "done": Done,
}
_NAMES: dict[type[Event], str] = {kind: name for name, kind in _TYPES.items()}
_ENCODER = msgspec.json.Encoder()
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in _TYPES.items()}

assert set(get_args(Event)) == set(_NAMES)


def name(event: Event) -> str:
    """The SSE event name of `event`."""
    return _NAMES[type(event)]


def is_terminal(event: Event) -> bool:
    """True for `Done` and `Error`: nothing follows."""
    return isinstance(event, Done | Error)


def shifted(event: Event, by_ms: float) -> Event:
    """The same event on the clock of a caller whose call was `by_ms` earlier: latencies and spans move."""
    if isinstance(event, Done):
        return msgspec.structs.replace(event, latency=event.latency + by_ms)
    if isinstance(event, Meta):
        latency = None if event.latency is None else event.latency + by_ms
        return msgspec.structs.replace(event, latency=latency, spans=tuple(span.shifted(by_ms) for span in event.spans))
    return event


def encode(event: Event) -> bytes:
    """The JSON object that goes into the SSE `data` field (one line, UTF-8)."""
    return _ENCODER.encode(event)


def decode(event_name: str, data: str | bytes) -> Event | None:
    """The event for an SSE name and its data; None for a name that this version does not know.

    Raises msgspec.DecodeError (ValidationError included) when a known event's data is malformed.
    """
    decoder = _DECODERS.get(event_name)
    return None if decoder is None else decoder.decode(data)
