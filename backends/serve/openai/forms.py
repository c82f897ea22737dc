"""The JSON of chat completions, in and out (platform.openai.com/docs/api-reference/chat, as of 2026).

What goes beyond OpenAI's: `top_k`, `min_p`, `repetition_penalty`, `grammar` as llama-server and vLLM take them; `docs`
and `feature` of our ChatRequest; `citations`, `reasoning_content`, `timings` (llama-server's) and `stages` in answers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from backends.backend import Feature
from backends.events import Citation

_Number = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_Seed = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_StopText = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
StopTexts = Annotated[tuple[_StopText, ...], msgspec.Meta(max_length=16)]


class _Form(msgspec.Struct, frozen=True):
    """Base of what comes in. Fields that are not here are ignored, as other servers do."""


class ContentPart(_Form, frozen=True):
    """A part of a message: only text is taken."""

    type: str
    text: str | None = None


class InMessage(_Form, frozen=True):
    """One turn. "developer" is OpenAI's newer word for "system"; tools are not taken."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[ContentPart, ...] | None = None
    tool_calls: tuple[dict[str, Any], ...] | None = None


class StreamOptions(_Form, frozen=True):
    """`include_usage`: one more chunk at the end, with the usage."""

    include_usage: bool | None = None


class JsonSchema(_Form, frozen=True):
    """A schema for the answer."""

    name: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(_Form, frozen=True):
    """`type` "text", "json_object" (any object) or "json_schema"."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class CompletionRequest(_Form, frozen=True):
    """The body of ``POST /v1/chat/completions``. None leaves the choice to the backend."""

    model: str
    messages: Annotated[tuple[InMessage, ...], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    n: int | None = None
    stop: _StopText | StopTexts | None = None
    seed: _Seed | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: _Share | None = None
    frequency_penalty: _Number | None = None
    presence_penalty: _Number | None = None
    logit_bias: dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: tuple[dict[str, Any], ...] | None = None
    modalities: tuple[str, ...] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    min_p: _Share | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0, le=2)] | None = None
    grammar: str | None = None
    docs: bool | None = None
    feature: Feature | None = None


class Logprob(msgspec.Struct, frozen=True):
    """One of the likeliest tokens in a place; `bytes` is its text in UTF-8."""

    token: str
    logprob: float
    bytes: tuple[int, ...]


class TokenLogprob(Logprob, frozen=True):
    """A token of the answer, and the likeliest in its place."""

    top_logprobs: tuple[Logprob, ...] = ()


class Logprobs(msgspec.Struct, frozen=True):
    """The log probabilities of a piece of the answer."""

    content: tuple[TokenLogprob, ...]
    refusal: None = None


Finish = Literal["stop", "length", "content_filter", "tool_calls"]


class OutMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. `citations` are the passages whose ids (``[S1]``) stand in `content`."""

    content: str
    role: Literal["assistant"] = msgspec.field(default_factory=lambda: "assistant")
    reasoning_content: str = ""
    citations: tuple[Citation, ...] = ()


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk adds to the answer."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    citations: tuple[Citation, ...] = ()


class Choice(msgspec.Struct, frozen=True):
    """The one answer of a completion."""

    message: OutMessage
    finish_reason: Finish
    logprobs: Logprobs | None = None
    index: int = 0


class ChunkChoice(msgspec.Struct, frozen=True):
    """The one answer of a chunk."""

    delta: Delta
    finish_reason: Finish | None = None
    logprobs: Logprobs | None = None
    index: int = 0


class PromptDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens: those that the prefix cache held."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct, frozen=True):
    """Of the answer's tokens: those of thinking, and those that a draft had proposed."""

    reasoning_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Tokens; 0 where the backend does not tell."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class Timings(msgspec.Struct, frozen=True, omit_defaults=True):
    """As llama-server's: tokens and milliseconds; `prompt_*` is what the cache did not hold."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class Completion(msgspec.Struct, frozen=True):
    """A whole answer. `stages`: milliseconds by stage (DESIGN.md, "Stages and metrics")."""

    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    timings: Timings
    stages: dict[str, float]
    object: Literal["chat.completion"] = "chat.completion"


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an answer. `usage` is null but in the last one; without ``include_usage`` it is not there at all."""

    id: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    timings: Timings | msgspec.UnsetType = msgspec.UNSET
    stages: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class Model(msgspec.Struct, frozen=True):
    """A model that may be asked for by its `id`."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "llmchat"


class ModelList(msgspec.Struct, frozen=True):
    """The body of ``GET /v1/models``."""

    data: tuple[Model, ...]
    object: Literal["list"] = "list"
