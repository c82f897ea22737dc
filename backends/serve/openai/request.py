"""Their request as a ChatRequest. What would change the answer's meaning and cannot be had is refused, by name."""

from __future__ import annotations

import re
from typing import Any

from backends.backend import ChatRequest, Message, Role, Sampling
from backends.serve.openai.forms import CompletionRequest, ContentPart, InMessage, ResponseFormat
from backends.serve.replies import Refusal

_TOKEN_ID = re.compile(r"\d{1,9}\Z")


def chat_request(asked: CompletionRequest, model: str | None) -> ChatRequest:
    """The same as a ChatRequest to `model`. A last turn of the assistant is gone on with. Raises Refusal."""
    _check(asked)
    messages = tuple(_message(message, f"messages[{place}]") for place, message in enumerate(asked.messages))
    begun = ""
    if messages[-1].role == "assistant":
        begun, messages = messages[-1].content, messages[:-1]
    if not messages:
        raise _refused("messages", "`messages` has nothing but the beginning of an answer")
    return ChatRequest(
        messages,
        model=model,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        sampling=_sampling(asked),
        feature=asked.feature or "chat",
        docs=asked.docs is not False,
        continue_from=begun,
        reasoning="off" if asked.reasoning_effort == "none" else "auto",
    )


def _check(asked: CompletionRequest) -> None:
    if asked.n not in (None, 1):
        raise _refused("n", f"n is {asked.n}: one answer a request is given here; ask {asked.n} times instead")
    if (asked.tools or asked.functions) and asked.tool_choice != "none":
        param = "tools" if asked.tools else "functions"
        raise _refused(param, f"{param}: this server calls no tools; leave them out, or say tool_choice: none")
    if asked.tool_choice not in (None, "none", "auto"):
        raise _refused("tool_choice", "tool_choice: this server calls no tools")
    if asked.modalities and set(asked.modalities) != {"text"}:
        raise _refused("modalities", "modalities: this server answers in text only")
    if asked.top_logprobs is not None and not asked.logprobs:
        raise _refused("top_logprobs", "top_logprobs needs logprobs: true")


def _message(message: InMessage, at: str) -> Message:
    if message.role in ("tool", "function") or message.tool_calls:
        raise _refused(at, f"{at}: this server calls no tools, so there are no results of theirs to take")
    role: Role = "assistant" if message.role == "assistant" else "user" if message.role == "user" else "system"
    content = message.content
    if content is None:
        raise _refused(f"{at}.content", f"{at}.content is missing")
    if isinstance(content, str):
        return Message(role, content)
    return Message(role, "\n".join(_text(part, f"{at}.content[{place}]") for place, part in enumerate(content)))


def _text(part: ContentPart, at: str) -> str:
    if part.type != "text" or part.text is None:
        raise _refused(at, f"{at}: only text can be taken here, not {part.type!r:.40}")
    return part.text


def _sampling(asked: CompletionRequest) -> Sampling:
    stop = asked.stop or ()
    return Sampling(
        temperature=asked.temperature,
        top_k=asked.top_k,
        top_p=asked.top_p,
        min_p=asked.min_p,
        repetition_penalty=asked.repetition_penalty,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        seed=asked.seed,
        stop=(stop,) if isinstance(stop, str) else stop,
        logit_bias=tuple((_token_id(token), value) for token, value in (asked.logit_bias or {}).items()),
        grammar=asked.grammar or "",
        json_schema=_schema(asked.response_format),
        top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
    )


def _token_id(text: str) -> int:
    if not _TOKEN_ID.match(text):
        raise _refused("logit_bias", f"logit_bias: {text!r:.40} is not the number of a token")
    return int(text)


def _schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return {"type": "object"}
    if form.json_schema is None or form.json_schema.schema is None:
        raise _refused("response_format", "response_format.json_schema.schema is missing")
    return form.json_schema.schema


def _refused(param: str, message: str) -> Refusal:
    return Refusal(400, message, param=param)
