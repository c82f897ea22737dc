"""The provider ``responses``: OpenAI's Responses API, and servers that speak it (vLLM, LM Studio, llama-server).

Wire form: platform.openai.com/docs/api-reference/responses-streaming. Nothing is stored at the server: every request
carries the whole conversation, as elsewhere. Summaries of the thinking come where they are asked for:
``extra_body = {reasoning = {summary = "auto"}}``. It tells no times.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from backends.backend import Backend, ChatRequest
from backends.events import Event, FinishReason, Meta
from backends.foreign.reader import AnswerReader, Counts, at, text_of
from backends.foreign.server import ForeignServer, Listed
from backends.foreign.turns import named, turns
from backends.providers import ForeignOptions, Site
from backends.providers.openai import OpenAI
from backends.sse.address import api_address
from backends.sse.credentials import Key
from backends.sse.network import Network

_PATH = "/responses"
_SAMPLING = {"temperature": "temperature", "top_p": "top_p"}
_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THINKING = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}

_COUNTS: Counts = (
    ("prompt_tokens", ("usage", "input_tokens")),
    ("completion_tokens", ("usage", "output_tokens")),
    ("cached_tokens", ("usage", "input_tokens_details", "cached_tokens")),
    ("cache_write_tokens", ("usage", "input_tokens_details", "cache_write_tokens")),
    ("reasoning_tokens", ("usage", "output_tokens_details", "reasoning_tokens")),
)

_STATUSES = {"server_error": 500, "rate_limit_exceeded": 429, "invalid_prompt": 400, "insufficient_quota": 402}


class Options(ForeignOptions, frozen=True, kw_only=True):
    """`url`: the server, with or without ``/v1``."""


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; opens no connection yet. Raises ConfigError."""
    return Responses(options, token=options.key(site), network=options.network(site))


def request_body(request: ChatRequest, model: str) -> dict[str, Any]:
    """The JSON of one request. Raises BackendError (BAD_REQUEST) for sampling that the API does not know."""
    body: dict[str, Any] = {
        "model": model,
        "input": turns(request, prefill=False),
        "stream": True,
        "store": False,
        "max_output_tokens": request.token_limit,
        **named(request.sampling, _SAMPLING, "the Responses API", besides=("json_schema",)),
    }
    if request.sampling.json_schema is not None:
        form = {"type": "json_schema", "name": "answer", "schema": request.sampling.json_schema, "strict": True}
        body["text"] = {"format": form}
    return body


class ResponseReader(AnswerReader):
    """An answer from ``response.created`` to its completed, incomplete or failed end; other events are passed over."""

    COUNTS: ClassVar[Counts] = _COUNTS
    STATUSES: ClassVar[dict[str, int]] = _STATUSES

    def _take(self, value: dict[str, Any], now: float) -> list[Event]:
        kind = value.get("type")
        if kind in _TEXT:  # how many tokens is not told
            return self._said(text_of(value.get("delta")), 0, now)
        if kind in _THINKING:
            return self._thought(text_of(value.get("delta")), 0, now)
        response = value.get("response")
        response = response if isinstance(response, dict) else {}
        match kind:
            case "response.created":
                return self._introduction(response.get("model"), response.get("id"), now)
            case "response.completed":
                return self._complete(response, "stop", now)
            case "response.incomplete":
                reason = text_of(at(response, ("incomplete_details", "reason")))
                return self._complete(response, _INCOMPLETE.get(reason, "length"), now)
            case "response.failed":
                return self._broken_off(response.get("error"))
            case "error":
                return self._broken_off({"message": value.get("message"), "code": value.get("code")})
        return []

    def _complete(self, response: dict[str, Any], reason: FinishReason, now: float) -> list[Event]:
        self._finish(reason)
        meta = Meta(text_of(response.get("model")) or None, now)  # llama-server does not name it before
        return [msgspec.structs.replace(meta, **self._counts(response)), *self.end(now)]


class Responses(ForeignServer):
    """A Backend on a Responses endpoint."""

    PATH = _PATH
    MODELS = "/models"
    READER = ResponseReader

    def __init__(self, options: ForeignOptions, *, token: Key | None = None, network: Network | None = None) -> None:
        """Raises ConfigError for a wrong `url`."""
        address = api_address(options.url, "/v1", _PATH)
        super().__init__(options.remote(address, token, network), options.model, options.extra_body)

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """See `request_body`."""
        return request_body(request, model)

    @classmethod
    def listed(cls, body: Any) -> list[Listed]:
        """See `ForeignServer.listed`; they are listed as for chat completions."""
        return OpenAI.listed(body)
