"""Sampling in the dialect of OpenAI-compatible servers: what a request's fields are called, what comes back of them.

Wire form: platform.openai.com/docs/api-reference/chat (`temperature`, `top_p`, `seed`, `stop`, the penalties,
`logit_bias`, `response_format`, `logprobs`). Everything else is the server's own: llama-server's README.md
(tools/server), vLLM's "sampling parameters" and "structured outputs". Fields are sent only where the request sets them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backends.backend import ChatRequest
from backends.errors import BackendError, Code
from backends.events import Logprob

LLAMA_SERVER, VLLM, SGLANG = "llamacpp", "vllm", "sglang"
"""The servers that are known by their models' `owned_by`."""

_LLAMA_SERVER_NAMES = {"repetition_penalty": "repeat_penalty", "penalty_last_n": "repeat_last_n"}
_OWN = frozenset({"logit_bias", "grammar", "json_schema", "top_logprobs"})


def sampling_fields(request: ChatRequest, owner: str = "") -> dict[str, Any]:
    """The fields for a server whose models are `owned_by` `owner`. Raises BackendError (BAD_REQUEST)."""
    sampling = request.sampling
    fields: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(sampling).items():
        if name not in _OWN and value is not None and value != ():
            fields[_LLAMA_SERVER_NAMES.get(name, name) if owner == LLAMA_SERVER else name] = value
    if sampling.logit_bias:
        fields["logit_bias"] = _bias(sampling.logit_bias, owner)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": sampling.json_schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if sampling.grammar:
        structured = {"structured_outputs": {"grammar": sampling.grammar}}
        fields |= structured if owner == VLLM else {"grammar": sampling.grammar}
    if sampling.top_logprobs is not None:
        fields |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    if request.reasoning == "off" and owner in (LLAMA_SERVER, VLLM, SGLANG):
        fields["chat_template_kwargs"] = {"enable_thinking": False}
    return fields


def _bias(pairs: tuple[tuple[int | str, float], ...], owner: str) -> Any:
    """Token ids to numbers; llama-server takes texts as well."""
    if owner == LLAMA_SERVER:
        return pairs
    if texts := [token for token, _ in pairs if isinstance(token, str)]:
        message = f"sampling: logit_bias of the text {texts[0]!r}: this server knows tokens by their numbers only"
        raise BackendError(Code.BAD_REQUEST, message)
    return {str(token): value for token, value in pairs}


def logprobs_of(choice: dict[str, Any]) -> tuple[Logprob, ...]:
    """The log probabilities of the tokens in a chunk's choice; none where they are not of OpenAI's form."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    try:
        return tuple(_entry(entry, entry.get("top_logprobs") or ()) for entry in content)
    except (LookupError, TypeError, ValueError, AttributeError):
        return ()


def _entry(entry: dict[str, Any], others: Any) -> Logprob:
    top = tuple(_entry(other, ()) for other in others)
    return Logprob(str(entry["token"]), float(entry["logprob"]), int(entry.get("id", -1)), top)
