"""The provider ``anthropic``: Anthropic's Messages API, and servers that speak it (`llama-server`, vLLM, proxies).

Wire form: docs.anthropic.com, "Messages", "Streaming messages", "Prompt caching", "Extended thinking", "Errors". It
tells no times. Prompts are append-only here, so two breakpoints serve the prompt cache: behind the system prompt, and
behind the newest question, where the next turn finds everything before it.

Models differ in what they refuse with a 400 ("Migration guide" in the same documentation): those since Claude 4.6 an
answer's beginning that is given to them, those since Opus 4.7 a budget for their thinking. Whose model refuses which is
found out by asking, since nobody can know the names of models to come.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, http_code
from backends.events import Event, FinishReason, Meta
from backends.foreign.reader import AnswerReader, Counts, at, text_of
from backends.foreign.server import ForeignServer, Listed
from backends.foreign.turns import Turn, named, turns
from backends.providers import ForeignOptions, Site
from backends.sse.address import api_address
from backends.sse.credentials import Key
from backends.sse.network import Network

VERSION = "2023-06-01"
"""The API's version, which every request has to name."""

_PATH = "/messages"
_CACHED = {"cache_control": {"type": "ephemeral"}}
_SAMPLING = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "stop": "stop_sequences"}

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_COUNTS: Counts = (
    ("prompt_tokens", ("input_tokens",)),
    ("completion_tokens", ("output_tokens",)),
    ("cached_tokens", ("cache_read_input_tokens",)),
    ("cache_write_tokens", ("cache_creation_input_tokens",)),
    ("reasoning_tokens", ("output_tokens_details", "thinking_tokens")),
)

_NO_PREFILL = ("prefill", "must end with a user message")
_NO_BUDGET = ("thinking.type.adaptive", "budget_tokens")
"""What a refusal of either says."""

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Options(ForeignOptions, frozen=True, kw_only=True):
    """`url`: the server, with or without ``/v1``. `thinking_tokens`: what the model may think before it answers, beside
    the answer's own limit; 0 leaves thinking off. A model that takes no budget decides by itself, within that sum."""

    url: str = "https://api.anthropic.com"
    thinking_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; opens no connection yet. Raises ConfigError."""
    return Anthropic(options, token=options.key(site), network=options.network(site))


def request_body(
    request: ChatRequest, model: str, thinking_tokens: int = 0, *, prefill: bool = True, budget: bool = True
) -> dict[str, Any]:
    """The JSON of one request. `prefill`: whether the model goes on with an answer that is given to it; `budget`:
    whether it takes one for its thinking. Raises BackendError (BAD_REQUEST) for sampling that the API does not know.
    """
    thinks = thinking_tokens and request.reasoning != "off"
    said = turns(request, prefill=prefill and not thinks)  # who thinks cannot begin with words that are given
    system = "\n\n".join(turn["content"] for turn in said if turn["role"] == "system")
    messages = [_message(turn) for turn in said if turn["role"] != "system"]
    newest = next((message for message in reversed(messages) if message["role"] == "user"), None)
    if newest is not None:
        newest["content"][-1] |= _CACHED
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.token_limit + (thinking_tokens if thinks else 0),
        "messages": messages,
        "stream": True,
        **named(request.sampling, _SAMPLING, "Anthropic's API"),
    }
    if system:
        body["system"] = [{"type": "text", "text": system, **_CACHED}]
    if thinks:
        given = {"type": "enabled", "budget_tokens": thinking_tokens}
        body["thinking"] = given if budget else {"type": "adaptive", "display": "summarized"}
    return body


def _message(turn: Turn) -> dict[str, Any]:
    # An answer to go on with must not end in white space: the API refuses it.
    text = turn["content"].rstrip() if turn["role"] == "assistant" else turn["content"]
    return {"role": turn["role"], "content": [{"type": "text", "text": text}]}


class MessageReader(AnswerReader):
    """An answer from ``message_start`` to ``message_stop``; events that it does not know are passed over."""

    COUNTS: ClassVar[Counts] = _COUNTS
    STATUSES: ClassVar[dict[str, int]] = _STATUSES

    def _take(self, value: dict[str, Any], now: float) -> list[Event]:
        match value.get("type"):
            case "message_start":
                model, name = at(value, ("message", "model")), at(value, ("message", "id"))
                return [*self._introduction(model, name, now), *self._usage(at(value, ("message", "usage")), now)]
            case "content_block_start":
                return self._piece(value.get("content_block"), now)
            case "content_block_delta":
                return self._piece(value.get("delta"), now)
            case "message_delta":
                if isinstance(reason := at(value, ("delta", "stop_reason")), str):
                    full = "the context is full" if reason == "model_context_window_exceeded" else ""
                    self._finish(_FINISH.get(reason, "stop"), full)
                return self._usage(value.get("usage"), now)
            case "message_stop":
                self.finished = True
                return self.end(now)
        return []

    def _piece(self, piece: Any, now: float) -> list[Event]:
        """A block's beginning or more of it; signatures and tool calls are no text. How many tokens is not told."""
        thinking, text = (text_of(at(piece, (kind,))) for kind in ("thinking", "text"))
        return self._thought(thinking, 0, now) + self._said(text, 0, now)

    def _usage(self, usage: Any, now: float) -> list[Event]:
        """Counts so far; `input_tokens` are those that neither came from the cache nor were put there."""
        counts = self._counts(usage if isinstance(usage, dict) else {})
        if "prompt_tokens" in counts:
            counts["prompt_tokens"] += counts.get("cached_tokens", 0) + counts.get("cache_write_tokens", 0)
        if not self.finished:  # a first count of the answer is a placeholder
            counts.pop("completion_tokens", None)
        return [msgspec.structs.replace(Meta(latency=now), **counts)] if counts else []


class Anthropic(ForeignServer):
    """A Backend on a Messages endpoint."""

    PATH = _PATH
    MODELS = "/models?limit=1000"
    READER = MessageReader

    def __init__(self, options: Options, *, token: Key | None = None, network: Network | None = None) -> None:
        """`token` goes out as ``x-api-key``. Raises ConfigError for a wrong `url`."""
        options = msgspec.structs.replace(options, headers={"anthropic-version": VERSION} | options.headers)
        address = api_address(options.url, "/v1", _PATH)
        super().__init__(options.remote(address, token, network, "x-api-key"), options.model, options.extra_body)
        self._thinking_tokens = options.thinking_tokens
        self._without_prefill: set[str] = set()
        self._without_budget: set[str] = set()

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """See `request_body`."""
        prefill, budget = model not in self._without_prefill, model not in self._without_budget
        return request_body(request, model, self._thinking_tokens, prefill=prefill, budget=budget)

    def put_otherwise(self, error: BackendError, request: ChatRequest) -> str:
        """See `ForeignServer.put_otherwise`."""
        if error.code != http_code(400):
            return ""
        model, words = self.model_of(request), error.message
        if request.continue_from and model not in self._without_prefill and _names(words, _NO_PREFILL):
            self._without_prefill.add(model)
            return f"{model} does not go on by itself: it is asked to, in words"
        if self._thinking_tokens and model not in self._without_budget and _names(words, _NO_BUDGET):
            self._without_budget.add(model)
            return f"{model} takes no thinking_tokens: it decides by itself how much it thinks"
        return ""

    @classmethod
    def listed(cls, body: Any) -> list[Listed]:
        """See `ForeignServer.listed`; what is retired stays in the list, but does not answer."""
        return [Listed(str(model["id"])) for model in body["data"] if model.get("lifecycle") != "retired"]


def _names(message: str, words: tuple[str, ...]) -> bool:
    return any(word in message for word in words)
