"""The provider ``openai``: chat completions over SSE, as OpenAI, vLLM, llama-server and many others speak them.

Wire form: platform.openai.com/docs/api-reference/chat-streaming. What goes beyond it, by server:

    llama-server (tools/server/README.md)   `prompt_progress` while prefilling (asked with `return_progress`),
                                            `timings` in the last chunk
    vLLM (docs.vllm.ai, OpenAI server)      `metrics`, where switched on; running `usage` with `continuous_usage_stats`
    DeepSeek, vLLM, llama-server            `delta.reasoning_content`; OpenRouter and newer vLLM: `delta.reasoning`

Which of them it is, GET /models tells (`owned_by`). It is asked when no model is configured, and by `warm`; until then
only the common form is spoken.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code, http_code
from backends.events import Done, Error, Event, FinishReason, Logprob, Meta, Reasoning, Status, Token, is_terminal
from backends.providers import ProviderOptions, Site
from backends.sse.address import Address, parse_address
from backends.sse.credentials import read_key
from backends.sse.excerpt import clean, is_context_full, message_of
from backends.sse.openai_sampling import LLAMA_SERVER, VLLM, logprobs_of, sampling_fields
from backends.sse.placement import Timing
from backends.sse.remote import Remote
from backends.sse.timeouts import Timeouts
from backends.telemetry.stages import Span

if TYPE_CHECKING:
    from backends.sse.client import Client, EventStream

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()
_PATH = "/chat/completions"

_EXTRAS: dict[str, dict[str, Any]] = {
    LLAMA_SERVER: {"return_progress": True},
}
"""What a server takes beyond the common form, by its models' `owned_by`; others refuse fields they do not know."""

_CONTINUE: dict[str, dict[str, Any]] = {
    VLLM: {"continue_final_message": True, "add_generation_prompt": False},
}
"""What makes a server go on after a trailing assistant message; llama-server does so by itself."""


_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}

_COUNTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("prompt_tokens", ("usage", "prompt_tokens")),
    ("completion_tokens", ("usage", "completion_tokens")),
    ("completion_tokens", ("timings", "predicted_n")),
    ("cached_tokens", ("usage", "prompt_tokens_details", "cached_tokens")),
    ("cached_tokens", ("usage", "prompt_cache_hit_tokens")),
    ("cached_tokens", ("timings", "cache_n")),
    ("reasoning_tokens", ("usage", "completion_tokens_details", "reasoning_tokens")),
    ("draft_tokens", ("timings", "draft_n")),
    ("accepted_tokens", ("timings", "draft_n_accepted")),
)
"""Where a chunk tells a count: the field of `Meta`, and the path to it. The first place that tells wins."""


class Options(ProviderOptions, frozen=True, kw_only=True):
    """`url`: the server, with or without ``/v1``. `model`: which one; without it the first that the server lists.
    `api_key_env` names an environment variable, `api_key_file` a file that only its owner can read. `headers` are sent
    with every request, `extra_body` is merged into every request's JSON."""

    url: str
    model: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    timeouts: Timeouts = Timeouts()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)


def connect(options: Options, site: Site) -> Backend:
    """The server at `options.url`; opens no connection yet. Raises ConfigError."""
    return OpenAI(options, token=read_key(site.name, options.api_key_env, options.api_key_file, site.path))


class OpenAI:
    """A Backend on somebody's chat completions endpoint."""

    def __init__(self, options: Options, *, token: str | None = None) -> None:
        """Raises ConfigError for a wrong `url`."""
        self._options = options
        self._remote = Remote(
            base_address(options.url), token=token, headers=options.headers, timeouts=options.timeouts
        )
        self._listed: tuple[str, str] | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """See `Backend.stream`. Closing the iterator closes the response: the server sees the disconnect."""
        since = time.perf_counter()
        try:
            client = self._remote.client()
            if not client.connected:
                yield Status("connecting")
            model = request.model or self._options.model or (await self._list(client))[0]
            owner = self._listed[1] if self._listed else ""
            # api.openai.com refuses `max_tokens` for its reasoning models; elsewhere the newer name is often unknown.
            limit = "max_completion_tokens" if "//api.openai.com" in self._remote.address.url else "max_tokens"
            body = _ENCODER.encode(request_body(request, model, owner, limit) | self._options.extra_body)
            stream = client.open(_PATH, body, since=since)
            async with stream, aclosing(_events(stream, client)) as events:
                async for event in events:
                    yield event
        except BackendError as error:
            yield error.event()

    async def warm(self, request: ChatRequest) -> None:
        """Open a connection by listing the models; unsent text goes nowhere."""
        try:
            client = await self._remote.prepared_client()
            if not client.connected:
                await self._list(client, again=True)
        except BackendError:
            return  # a hint; the stream will say what is wrong

    async def aclose(self) -> None:
        """Close all connections; running streams end with SHUTDOWN."""
        await self._remote.aclose()

    async def _list(self, client: Client, *, again: bool = False) -> tuple[str, str]:
        """The first model that the server lists, and whose server it is. Raises BackendError."""
        if self._listed is None or again:
            self._listed = first_model(await client.request("GET", "/models"), self._remote.address)
        return self._listed


def base_address(url: str) -> Address:
    """Where the API's paths begin: ``http://host`` and ``http://host/v1`` are the same, other paths are kept."""
    address = parse_address(url)
    base = address.url.removesuffix(_PATH)
    if not re.search(r"://[^/]+/", base):
        base += "/v1"
    return Address(base, address.uds)


def first_model(body: bytes, address: Address) -> tuple[str, str]:
    """Id and owner of the first model in the answer to GET /models. Raises BackendError."""
    try:
        model = msgspec.json.decode(body)["data"][0]
        return str(model["id"]), str(model.get("owned_by", ""))
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        message = f'{address.shown}/models lists no model; name one with model = "..."'
        raise BackendError(Code.NOT_FOUND, message) from None


def request_body(request: ChatRequest, model: str, owner: str = "", limit: str = "max_tokens") -> dict[str, Any]:
    """The JSON of one request to a server whose models are `owned_by` `owner` ('' when that is not known).

    `limit` is the name of the field that bounds the answer. Raises BackendError (BAD_REQUEST) for what cannot be said.
    """
    messages = request.messages
    if any(message.sources for message in messages):  # turns that another backend answered from documents
        from backends.rag.assemble import plain_messages

        messages = plain_messages(messages, rules=False)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        limit: request.token_limit,
        **_EXTRAS.get(owner, {}),
    }
    body |= sampling_fields(request, owner)
    if request.continue_from:
        body["messages"].append({"role": "assistant", "content": request.continue_from})
        body |= _CONTINUE.get(owner, {})
    return body


async def _events(stream: EventStream, client: Client) -> AsyncGenerator[Event, None]:
    """The answer's events, up to the terminal one. Raises BackendError."""
    reader = ChunkReader(stream.timing, client.address.shown, client.secrets)
    try:
        async with aclosing(stream.frames()) as frames:
            async for frame in frames:
                for event in reader.read(frame.data, stream.now()):
                    if isinstance(event, Token | Reasoning):
                        stream.token_seen()
                    if is_terminal(event):
                        stream.complete()
                    yield event
                if reader.ended:
                    return
    except BackendError:
        if not reader.finished:
            raise
    for event in reader.end(stream.now()):
        yield event


class ChunkReader:
    """One answer's chunks as events. Pure: it gets each event's data and the time, and touches no socket.

    `finished`: a finish reason was told, so that the answer is whole even if the connection breaks now. `ended`: the
    terminal event was given out.
    """

    def __init__(self, timing: Timing, where: str, secrets: Iterable[str] = ()) -> None:
        """`timing`: what the client measured of its request. `where` names the server in messages."""
        self.finished = self.ended = False
        self._timing = timing
        self._where = where
        self._secrets = tuple(secrets)
        self._finish_reason: FinishReason = "stop"
        self._introduced = False
        self._first_at: float | None = None
        self._given_out = 0
        self._told: int | None = None

    def read(self, data: str, now: float) -> list[Event]:
        """The events in one SSE event's data, `now` milliseconds after the call. Raises BackendError (BAD_RESPONSE)."""
        if not data.strip():
            return []
        if data.strip() == "[DONE]":
            self.finished = True
            return self.end(now)
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise self._malformed(data) from None
        if not isinstance(chunk, dict):
            raise self._malformed(data)
        if error := chunk.get("error"):
            self.ended = True
            return [self._error(error)]
        return self._read_chunk(chunk, now)

    def end(self, now: float) -> list[Event]:
        """The last event, where the body ends: `Done`, or an INTERRUPTED `Error` when no end was told."""
        if self.ended:
            return []
        self.ended = True
        if not self.finished:
            message = f"{self._where}: the stream ended before the answer was complete"
            return [Error(Code.INTERRUPTED, message, retryable=True)]
        total = self._given_out if self._told is None else self._told
        return [Done(total, now, self._finish_reason)]

    def _read_chunk(self, chunk: dict[str, Any], now: float) -> list[Event]:
        found: list[Event] = []
        if not self._introduced:
            self._introduced = True
            spans = (*self._timing.connect_span(), self._timing.send_span())
            found.append(Meta(_text(chunk.get("model")) or None, now, _text(chunk.get("id")) or None, spans=spans))
        if isinstance(progress := chunk.get("prompt_progress"), dict):
            found.append(_prefilling(progress))
        counts = _counts(chunk)
        choice = _first_choice(chunk)
        delta = choice.get("delta")
        told = counts.get("completion_tokens")
        text = self._pieces(delta if isinstance(delta, dict) else {}, told, now, logprobs_of(choice))
        found += text
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finished = True
            self._finish_reason = _FINISH.get(reason, "stop")
        self._told = told if told is not None else self._told
        spans = self._server_spans(chunk)
        if (counts or spans) and (not text or self.finished):  # running counts go out with the text
            found.append(msgspec.structs.replace(Meta(latency=now, spans=spans), **counts))
        return found

    def _pieces(
        self, delta: dict[str, Any], told: int | None, now: float, logprobs: tuple[Logprob, ...]
    ) -> list[Event]:
        """The texts of a chunk. A chunk is one token unless running counts say otherwise."""
        found: list[Event] = []
        count = 1 if told is None else max(0, told - self._given_out)
        if thinking := _text(delta.get("reasoning_content")) or _text(delta.get("reasoning")):
            found.append(Reasoning(thinking, count))
        if text := _text(delta.get("content")) or _text(delta.get("refusal")):
            found.append(Token(text, 0 if found else count, logprobs))
        if found:
            self._given_out += count
            self._first_at = now if self._first_at is None else self._first_at
        return found

    def _server_spans(self, chunk: dict[str, Any]) -> tuple[Span, ...]:
        """The server's durations, laid back from the first token's arrival, which is when its prefill had ended."""
        if self._first_at is None:
            return ()
        timings, metrics = chunk.get("timings"), chunk.get("metrics")
        if isinstance(timings, dict):
            return self._laid_back(0.0, _ms(timings, "prompt_ms"), _ms(timings, "predicted_ms"))
        if isinstance(metrics, dict):
            queue = _ms(metrics, "queue_time_ms")
            prefill = max(0.0, _ms(metrics, "time_to_first_token_ms") - queue)
            return self._laid_back(queue, prefill, _ms(metrics, "generation_time_ms"))
        return ()

    def _laid_back(self, queue: float, prefill: float, generation: float) -> tuple[Span, ...]:
        first = self._first_at or 0.0
        begin = max(self._timing.send_end, first - prefill)
        spans = []
        if queue:
            queued = max(self._timing.send_end, begin - queue)
            spans.append(Span("provider_queue", queued, begin - queued))
        if prefill:
            spans.append(Span("prefill", begin, max(0.0, first - begin)))
        if generation:
            spans.append(Span("total_generation", first, generation))
        return tuple(spans)

    def _error(self, error: Any) -> Error:
        """An error inside a 200: ``{"message", "type", "code"}``, where `code` may be an HTTP status."""
        fields = error if isinstance(error, dict) else {"message": error}
        message = clean(message_of(fields), secrets=self._secrets) or "the server reports an error without words"
        status = fields.get("code")
        if is_context_full(fields):
            return Error(Code.CONTEXT_FULL, f"{self._where}: {message}")
        if isinstance(status, int) and 400 <= status < 600:
            return Error(http_code(status), f"{self._where}: {message}", retryable=status >= 500 or status == 429)
        return Error(Code.BAD_RESPONSE, f"{self._where} broke off: {message}", retryable=True)

    def _malformed(self, data: str) -> BackendError:
        shown = clean(data, 80, self._secrets)
        return BackendError(Code.BAD_RESPONSE, f"{self._where} sent a chunk that is not a JSON object: {shown}")


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _text(value: Any) -> str:
    """A string, or the texts of a list of parts (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return ""


def _counts(chunk: dict[str, Any]) -> dict[str, int]:
    """The counts that `chunk` tells, by the names of `Meta`."""
    counts: dict[str, int] = {}
    if not (chunk.get("usage") or chunk.get("timings")):
        return counts
    for name, path in _COUNTS:
        value: Any = chunk
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int) and value >= 0:
            counts.setdefault(name, value)
    timings = chunk.get("timings")
    if "prompt_tokens" not in counts and isinstance(timings, dict) and isinstance(timings.get("prompt_n"), int):
        counts["prompt_tokens"] = timings["prompt_n"] + counts.get("cached_tokens", 0)
    return counts


def _prefilling(progress: dict[str, Any]) -> Status:
    """`prompt_progress`: `processed` counts the cached tokens too; `time_ms` since the prompt was begun."""
    total, done, cached = (max(0, int(_ms(progress, key))) for key in ("total", "processed", "cache"))
    ms = _ms(progress, "time_ms") if done >= total else None
    return Status("prefilling", total=total, done=done, cached=cached, ms=ms)


def _ms(table: dict[str, Any], key: str) -> float:
    value = table.get(key)
    return float(value) if isinstance(value, int | float) and value >= 0 else 0.0
