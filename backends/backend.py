"""The one doorway between what answers and what asks: `Backend`, and the request it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import msgspec

from backends.events import Citation, Error, Event, Status

Role = Literal["system", "user", "assistant"]
Feature = Literal["chat", "completion", "summarize", "batch"]

DEFAULT_MAX_TOKENS: dict[Feature, int] = {"chat": 1024, "completion": 256, "summarize": 512, "batch": 1024}


class _Request(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the request's parts; the wire form of `POST /v1/chat` is this structure as JSON, in snake_case."""


class Message(_Request, frozen=True):
    """One turn. `sources` are the passages that were put into this user turn when it was asked, verbatim.

    A client sends earlier turns back with their sources, so that the prompt stays append-only (prefix caching).
    """

    role: Role
    content: str
    sources: tuple[Citation, ...] = ()


class Sampling(_Request, frozen=True):
    """How the next token is drawn. None leaves the choice to the backend. `temperature` 0 is greedy.

    The penalties count the tokens of the answer, the last `penalty_last_n` of them; `dry_*` is DRY, which ends verbatim
    repetitions. `logit_bias` has pairs of a token (its id, or a text: all tokens of it) and what is added to its logit,
    -100 to 100; -100 bans it. `grammar` is GBNF as llama.cpp's grammars/README.md has it, `json_schema` a JSON schema:
    the answer is of that form, as far as the length limit lets it. `top_logprobs`: report each token's log probability,
    and those of so many of the likeliest (0: of none but the token itself).
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    penalty_last_n: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int | str, float], ...] = ()
    grammar: str = ""
    json_schema: dict[str, Any] | None = None
    top_logprobs: int | None = None


class ChatRequest(_Request, frozen=True):
    """One answer to be made.

    `max_tokens` None takes the feature's default. `docs` False asks a RAG backend to answer without retrieval.
    `continue_from` is the text of a cut answer to the last user message: the backend goes on after it. `reasoning`
    "off" asks a model that thinks before it answers not to, where that can be told.
    `key` makes a retried POST idempotent. `queue_timeout` is how many seconds it may wait for its place (None: what the
    backend allows to its feature). `partition` is whose request it is: what a cache keeps of it is never found from
    another partition. It is set by who serves it, from the caller's key, over whatever the caller says.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    feature: Feature = "chat"
    docs: bool = True
    continue_from: str = ""
    reasoning: Literal["auto", "off"] = "auto"
    key: str = ""
    queue_timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    partition: str = ""

    @property
    def token_limit(self) -> int:
        """The largest number of tokens that this answer may have."""
        return self.max_tokens if self.max_tokens is not None else DEFAULT_MAX_TOKENS[self.feature]


class Backend(Protocol):
    """Anything that answers. Backends compose: `Rag(inner)` is one, `serve(backend)` publishes one."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer `request` as events, of which the last is `Done` or `Error`.

        Expected failures are `Error` events, never exceptions. Closing the iterator cancels, all the way down, and
        returns only when the work has been told to stop. Offsets and latencies count from this call.
        """
        ...

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """A hint: this prefix is coming. Never fails; may do nothing.

        Returns what a request would meet now: the `Error` it would end with, or the `Status` it would wait in (loading
        a model, with its progress). None: nothing stands in its way, as far as is known.
        """
        ...

    async def aclose(self) -> None:
        """Release everything; running streams end with an `Error`. May be called again."""
        ...


class Pausable(Protocol):
    """What a Backend may be besides: its streams can stand still while their reader is away, and then go on.

    A stream is known by the `key` of its request, which is for the caller to make unique.
    """

    def pause(self, key: str) -> None:
        """Compute nothing more for this stream, from the next step on; what is computed already still comes.

        It goes for a stream that is yet to begin, too. A paused stream may end with INTERRUPTED where others need what
        it holds. Who pauses calls `resume` in any case, at the latest when the stream was closed.
        """
        ...

    def resume(self, key: str) -> None:
        """Go on where it stopped. Harmless for a stream that is not paused, or not there."""
        ...


@runtime_checkable
class _MayPause(Protocol):
    @property
    def pausable(self) -> Pausable | None: ...


def pausable(backend: Backend) -> Pausable | None:
    """Who pauses the streams of `backend`: its own property `pausable`; None where they can only be closed."""
    return backend.pausable if isinstance(backend, _MayPause) else None


@runtime_checkable
class _Around(Protocol):
    @property
    def inner(self) -> Backend: ...


def innermost(backend: Backend) -> Backend:
    """The backend that answers, where others are `inner` to some that only add to its requests or events."""
    while isinstance(backend, _Around):
        backend = backend.inner
    return backend
