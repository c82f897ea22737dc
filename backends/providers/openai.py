"""The provider ``openai``: chat completions over SSE, as OpenAI, vLLM, llama-server and many others speak them.

Wire form: platform.openai.com/docs/api-reference/chat-streaming. What goes beyond it, by server:

    llama-server (tools/server/README.md)   `prompt_progress` while prefilling (asked with `return_progress`),
                                            `timings` in the last chunk
    vLLM (docs.vllm.ai, OpenAI server;      `metrics`, where switched on; running `usage` with `continuous_usage_stats`
    docs/features/per_request_metrics.md)
    LM Studio (lmstudio.ai/docs, REST API)  `stats`: drafts under ``/v1``, under ``/api/v0`` times too
    SGLang (entrypoints/openai/protocol.py) `usage.reasoning_tokens`; `sglext` with what its cache held, by place, and
                                            drafts, where asked for
    Groq (console.groq.com/docs)            times in `usage`, also as `x_groq.usage`
    DeepSeek, vLLM, llama-server, SGLang    `delta.reasoning_content`; OpenRouter and newer vLLM: `delta.reasoning`
    OpenRouter (openrouter.ai/docs)         `usage.cost`; comments while it waits; an error as the last chunk

Which of them it is, GET /models tells (`owned_by`). It is asked when no model is configured, and by `warm`; until then
only the common form is spoken.

Not spoken: LM Studio's ``/api/v1/chat``, which tells how far loading and prefill are, but takes one message and keeps
the conversation itself; SGLang's ``/generate``, whose `meta_info` tells queue and total time, but which takes no turns.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from backends.backend import Backend, ChatRequest
from backends.errors import Code
from backends.events import Error, Event, FinishReason, Meta, Status
from backends.foreign.reader import AnswerReader, Counts, Durations, at, milliseconds, text_of
from backends.foreign.server import ForeignServer, Listed
from backends.foreign.turns import turns
from backends.providers import ForeignOptions, Site
from backends.sse.address import Address, api_address
from backends.sse.credentials import Key
from backends.sse.network import Network
from backends.sse.openai_sampling import LLAMA_SERVER, SGLANG, VLLM, logprobs_of, sampling_fields

_PATH = "/chat/completions"

_EXTRAS: dict[str, dict[str, Any]] = {
    LLAMA_SERVER: {"return_progress": True},
    # A chunk may be several tokens (speculation, batching): what it says of itself is exact.
    VLLM: {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    SGLANG: {
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "return_cached_tokens_details": True,
        "return_spec_tokens_details": True,
    },
}
"""What a server takes beyond the common form, by its models' `owned_by`; others refuse fields they do not know."""

_CONTINUE: dict[str, dict[str, Any]] = {
    LLAMA_SERVER: {},
    VLLM: {"continue_final_message": True, "add_generation_prompt": False},
    SGLANG: {"continue_final_message": True},
}
"""What makes a server go on with a trailing assistant message; others are asked to in words."""

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}

_ABORTED = frozenset({"abort", "error"})
"""How SGLang and vLLM end what they themselves gave up."""

_COUNTS: Counts = (
    ("prompt_tokens", ("usage", "prompt_tokens")),
    ("completion_tokens", ("usage", "completion_tokens")),
    ("completion_tokens", ("timings", "predicted_n")),
    ("cached_tokens", ("usage", "prompt_tokens_details", "cached_tokens")),
    ("cached_tokens", ("usage", "prompt_cache_hit_tokens")),
    ("cached_tokens", ("timings", "cache_n")),
    ("cache_write_tokens", ("usage", "prompt_tokens_details", "cache_write_tokens")),
    ("reasoning_tokens", ("usage", "completion_tokens_details", "reasoning_tokens")),
    ("reasoning_tokens", ("usage", "reasoning_tokens")),
    ("draft_tokens", ("timings", "draft_n")),
    ("accepted_tokens", ("timings", "draft_n_accepted")),
    ("draft_tokens", ("metrics", "speculative_decoding", "num_draft_tokens")),
    ("accepted_tokens", ("metrics", "speculative_decoding", "num_accepted_draft_tokens")),
    ("draft_tokens", ("stats", "total_draft_tokens_count")),
    ("accepted_tokens", ("stats", "accepted_draft_tokens_count")),
    ("draft_tokens", ("usage", "total_draft_tokens_count")),
    ("accepted_tokens", ("usage", "accepted_draft_tokens_count")),
    ("draft_tokens", ("sglext", "spec_tokens_details", "spec_num_proposed_drafts")),
    ("accepted_tokens", ("sglext", "spec_tokens_details", "spec_num_correct_drafts")),
)

_PREDICTED = ("usage", "completion_tokens_details")

_DURATIONS: Durations = (
    ("prefill", ("timings", "prompt_ms"), 1),
    ("total_generation", ("timings", "predicted_ms"), 1),
    ("provider_queue", ("metrics", "queue_time_ms"), 1),
    ("prefill", ("metrics", "time_to_first_token_ms"), 1),  # vLLM counts it from the end of the queue
    ("total_generation", ("metrics", "generation_time_ms"), 1),
    ("prefill", ("stats", "time_to_first_token"), 1000),
    ("total_generation", ("stats", "generation_time"), 1000),
    ("provider_queue", ("usage", "queue_time"), 1000),
    ("prefill", ("usage", "prompt_time"), 1000),
    ("total_generation", ("usage", "completion_time"), 1000),
)


class Options(ForeignOptions, frozen=True, kw_only=True):
    """`url`: the server, with or without ``/v1``."""


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; opens no connection yet. Raises ConfigError."""
    return OpenAI(options, token=options.key(site), network=options.network(site))


def base_address(url: str) -> Address:
    """Where the API's paths begin: ``http://host`` and ``http://host/v1`` are the same, other paths are kept."""
    return api_address(url, "/v1", _PATH)


def request_body(request: ChatRequest, model: str, owner: str = "", limit: str = "max_tokens") -> dict[str, Any]:
    """The JSON of one request to a server whose models are `owned_by` `owner` ('' when that is not known).

    `limit` is the name of the field that bounds the answer. Raises BackendError (BAD_REQUEST) for what cannot be said.
    """
    return {
        "model": model,
        "messages": turns(request, prefill=owner in _CONTINUE),
        "stream": True,
        "stream_options": {"include_usage": True},
        limit: request.token_limit,
        **_EXTRAS.get(owner, {}),
        **sampling_fields(request, owner),
        **(_CONTINUE.get(owner, {}) if request.continue_from else {}),
    }


class ChunkReader(AnswerReader):
    """An answer in ``chat.completion.chunk`` objects."""

    COUNTS: ClassVar[Counts] = _COUNTS
    DURATIONS: ClassVar[Durations] = _DURATIONS

    def _take(self, chunk: dict[str, Any], now: float) -> list[Event]:
        found = self._introduction(chunk.get("model"), chunk.get("id"), now)
        if isinstance(progress := chunk.get("prompt_progress"), dict):
            found.append(_prefilling(progress))
        counts = self._counts(chunk)
        choice = _first_choice(chunk)
        text = self._pieces(choice, counts.get("completion_tokens"), now)
        found += text
        if isinstance(reason := choice.get("finish_reason"), str):
            if reason in _ABORTED:
                self.ended = True
                return [*found, Error(Code.INTERRUPTED, f"{self._where} gave the answer up ({reason})", retryable=True)]
            self._finish(_FINISH.get(reason, "stop"))
        spans = self._spans(chunk)
        if (counts or spans) and (not text or self.finished):  # running counts go out with the text
            found.append(msgspec.structs.replace(Meta(latency=now, spans=spans), **counts))
        return found

    def _pieces(self, choice: dict[str, Any], told: int | None, now: float) -> list[Event]:
        """The texts of a chunk. A chunk is one token unless running counts say otherwise."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return []
        count = 1 if told is None else max(0, told - self._given_out)
        thinking = text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning"))
        text = text_of(delta.get("content")) or text_of(delta.get("refusal"))
        found = self._thought(thinking, count, now)
        return found + self._said(text, 0 if found else count, now, logprobs_of(choice))

    def _counts(self, chunk: dict[str, Any]) -> dict[str, Any]:
        counts = super()._counts(chunk)
        alone = at(chunk, ("timings", "prompt_n"))  # without what the cache held
        if "prompt_tokens" not in counts and isinstance(alone, int):
            counts["prompt_tokens"] = alone + counts.get("cached_tokens", 0)
        held = at(chunk, ("sglext", "cached_tokens_details"))  # on the device, in host memory, in a store
        if "cached_tokens" not in counts and isinstance(held, dict):
            counts["cached_tokens"] = sum(count for count in held.values() if type(count) is int and count > 0)
        kept, lost = (at(chunk, (*_PREDICTED, f"{fate}_prediction_tokens")) for fate in ("accepted", "rejected"))
        if isinstance(kept, int) and isinstance(lost, int) and kept + lost > 0:  # who drafts nothing says 0
            counts = {"draft_tokens": kept + lost, "accepted_tokens": kept} | counts
        cost = at(chunk, ("usage", "cost"))
        if isinstance(cost, int | float) and cost >= 0:
            counts["cost"] = float(cost)
        return counts


class OpenAI(ForeignServer):
    """A Backend on somebody's chat completions endpoint."""

    PATH = _PATH
    MODELS = "/models"
    READER = ChunkReader

    def __init__(self, options: ForeignOptions, *, token: Key | None = None, network: Network | None = None) -> None:
        """Raises ConfigError for a wrong `url`."""
        super().__init__(options.remote(base_address(options.url), token, network), options.model, options.extra_body)

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """See `request_body`."""
        owner = self._listed[0].owner if self._listed else ""
        # api.openai.com refuses `max_tokens` for its reasoning models; elsewhere the newer name is often unknown.
        limit = "max_completion_tokens" if "//api.openai.com" in self._remote.address.url else "max_tokens"
        return request_body(request, model, owner, limit)

    @classmethod
    def listed(cls, body: Any) -> list[Listed]:
        """See `ForeignServer.listed`."""
        return [Listed(str(model["id"]), str(model.get("owned_by", ""))) for model in body["data"]]


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _prefilling(progress: dict[str, Any]) -> Status:
    """`prompt_progress`: `processed` counts the cached tokens too; `time_ms` since the prompt was begun."""
    total, done, cached = (int(milliseconds(progress.get(key))) for key in ("total", "processed", "cache"))
    ms = milliseconds(progress.get("time_ms")) if done >= total else None
    return Status("prefilling", total=total, done=done, cached=cached, ms=ms)
