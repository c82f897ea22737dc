"""The provider ``ollama``: Ollama's own API, which tells what its OpenAI-compatible one leaves out.

Wire form: docs.ollama.com/api (``POST /api/chat``, ``GET /api/tags``): a JSON object a line, durations in nanoseconds
in the last one. Of the prompt it counts what the prefix cache held too, and does not say how much that was.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from backends.backend import Backend, ChatRequest
from backends.events import Event, FinishReason, Meta
from backends.foreign.reader import AnswerReader, Counts, Durations, at, text_of
from backends.foreign.server import ForeignServer, Listed
from backends.foreign.turns import named, turns
from backends.providers import ForeignOptions, Site
from backends.sse.address import api_address
from backends.sse.credentials import Key
from backends.sse.format import Format
from backends.sse.network import Network

_PATH = "/api/chat"
_NANOSECOND = 1e-6

_SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repeat_penalty",
    "penalty_last_n": "repeat_last_n",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}

_COUNTS: Counts = (("prompt_tokens", ("prompt_eval_count",)), ("completion_tokens", ("eval_count",)))

_DURATIONS: Durations = (
    ("model_load", ("load_duration",), _NANOSECOND),
    ("prefill", ("prompt_eval_duration",), _NANOSECOND),
    ("total_generation", ("eval_duration",), _NANOSECOND),
)


class Options(ForeignOptions, frozen=True, kw_only=True):
    """`url`: the server. `keep_alive`: how long it keeps the model loaded ("5m", "-1": for good; "": as it likes).
    `num_ctx`: tokens of context (0: as it likes); what does not fit, Ollama cuts from the prompt without a word."""

    url: str = "http://localhost:11434"
    keep_alive: str = ""
    num_ctx: Annotated[int, msgspec.Meta(ge=0)] = 0


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; opens no connection yet. Raises ConfigError."""
    return Ollama(options, token=options.key(site), network=options.network(site))


def request_body(request: ChatRequest, model: str, keep_alive: str = "", num_ctx: int = 0) -> dict[str, Any]:
    """The JSON of one request. Raises BackendError (BAD_REQUEST) for sampling that Ollama does not know."""
    sampling = named(request.sampling, _SAMPLING, "Ollama", besides=("json_schema",))
    options = {"num_predict": request.token_limit, **sampling} | ({"num_ctx": num_ctx} if num_ctx else {})
    body: dict[str, Any] = {"model": model, "messages": turns(request), "stream": True, "options": options}
    if request.sampling.json_schema is not None:
        body["format"] = request.sampling.json_schema
    if request.reasoning == "off":
        body["think"] = False
    if keep_alive:
        body["keep_alive"] = int(keep_alive) if keep_alive.lstrip("-").isdigit() else keep_alive
    return body


class LineReader(AnswerReader):
    """An answer in lines, of which the last is `done`. A line is one token."""

    COUNTS: ClassVar[Counts] = _COUNTS
    DURATIONS: ClassVar[Durations] = _DURATIONS

    def _take(self, line: dict[str, Any], now: float) -> list[Event]:
        found = self._introduction(line.get("model"), None, now)
        thinking, text = (text_of(at(line, ("message", kind))) for kind in ("thinking", "content"))
        count = 0 if line.get("done") is True else 1
        thought = self._thought(thinking, count, now)
        found += thought + self._said(text, 0 if thought else count, now)
        if line.get("done") is not True:
            return found
        self._finish(_FINISH.get(text_of(line.get("done_reason")), "stop"))
        meta = Meta(latency=now, spans=self._spans(line))
        return [*found, msgspec.structs.replace(meta, **self._counts(line)), *self.end(now)]


class Ollama(ForeignServer):
    """A Backend on an Ollama."""

    PATH = _PATH
    MODELS = "/api/tags"
    FORM: ClassVar[Format] = "application/x-ndjson"
    READER = LineReader

    def __init__(self, options: Options, *, token: Key | None = None, network: Network | None = None) -> None:
        """Raises ConfigError for a wrong `url`."""
        address = api_address(options.url, "", _PATH, "/api", "/v1")
        super().__init__(options.remote(address, token, network), options.model, options.extra_body)
        self._keep_alive, self._num_ctx = options.keep_alive, options.num_ctx

    def body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        """See `request_body`."""
        return request_body(request, model, self._keep_alive, self._num_ctx)

    @classmethod
    def listed(cls, body: Any) -> list[Listed]:
        """See `ForeignServer.listed`."""
        return [Listed(str(model["name"])) for model in body["models"]]
