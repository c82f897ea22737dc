"""Every dialect's wire form in parts, so that the same thing can be tried, and go wrong, in each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from backends.backend import Backend
from backends.providers import anthropic, ollama, openai, responses
from backends.providers.native import Native
from backends.sse.timeouts import Timeouts
from tests.fakes import anthropic_server, ollama_server, openai_server, responses_server
from tests.fakes.http_server import Step, event_stream

Connect = Callable[[str, Timeouts, int], Backend]


@dataclass(frozen=True)
class Dialect:
    """How an answer is written: `opening`, then a `piece` for each text, then `closing`, which says that it is whole.

    `error` says, in the midst of a 200, that the server is overloaded; `code` is what that comes to. `connect` makes
    the backend from a URL, time limits and retries.
    """

    name: str
    connect: Connect
    opening: bytes
    piece: Callable[[str], bytes]
    closing: bytes
    error: bytes
    code: str
    content_type: str = "text/event-stream"

    def answer(self, *steps: Step, end: bool = True) -> list[Step]:
        """A 200 with `steps` as its body, each a chunk of its own; without `end` the last chunk is never said."""
        written = [step for step in steps if step != b""]  # an empty chunk would be the last
        return event_stream(*written, content_type=self.content_type, end=end)

    def whole(self, *texts: str) -> list[Step]:
        """A 200 with a complete answer."""
        return self.answer(self.opening, *map(self.piece, texts), self.closing)


def _native(name: str, **fields: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(fields)}\n\n".encode()


DIALECTS = {
    it.name: it
    for it in (
        Dialect(
            "openai",
            lambda url, timeouts, retries: openai.OpenAI(
                openai.Options(url=url, model="m", timeouts=timeouts, retries=retries)
            ),
            openai_server.chunk({"role": "assistant", "content": ""}),
            lambda text: openai_server.chunk({"content": text}),
            openai_server.chunk({}, finish_reason="stop") + openai_server.data("[DONE]"),
            openai_server.data('{"error": {"message": "overloaded", "code": 503}}'),
            "HTTP_503",
        ),
        Dialect(
            "responses",
            lambda url, timeouts, retries: responses.Responses(
                responses.Options(url=url, model="m", timeouts=timeouts, retries=retries)
            ),
            responses_server.event("response.created", response=responses_server.whole("in_progress")),
            responses_server.text,
            responses_server.event("response.completed", response=responses_server.whole("completed")),
            responses_server.event("error", code="server_error", message="overloaded"),
            "HTTP_500",
        ),
        Dialect(
            "anthropic",
            lambda url, timeouts, retries: anthropic.Anthropic(
                anthropic.Options(url=url, model="m", timeouts=timeouts, retries=retries)
            ),
            anthropic_server.start(input_tokens=1, output_tokens=1),
            anthropic_server.text,
            anthropic_server.stop() + anthropic_server.end(),
            b"event: error\ndata: " + anthropic_server.error("overloaded_error", "overloaded") + b"\n\n",
            "HTTP_529",
        ),
        Dialect(
            "ollama",
            lambda url, timeouts, retries: ollama.Ollama(
                ollama.Options(url=url, model="m", timeouts=timeouts, retries=retries)
            ),
            b"",
            ollama_server.line,
            ollama_server.last(),
            b'{"error": "overloaded"}\n',
            "BAD_RESPONSE",
            ollama_server.LINES,
        ),
        Dialect(
            "native",
            lambda url, timeouts, retries: Native(url, timeouts=timeouts, retries=retries),
            _native("status", status="generating"),
            lambda text: _native("token", text=text),
            _native("done", totalTokens=3, latency=1),
            _native("error", code="OVERLOADED", message="overloaded", retryable=True),
            "OVERLOADED",
        ),
    )
}
"""By name."""
