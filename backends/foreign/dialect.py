"""Which dialect a server speaks, from its URL and from what it answers to a few harmless questions. Pure.

What each path answers: Ollama, docs.ollama.com/api (``/api/version``); llama-server, tools/server/README.md
(``/props``; it has ``/api/tags`` too, but no ``/api/version``); LM Studio, lmstudio.ai/docs, REST API
(``/api/v0/models``); vLLM, docs.vllm.ai (``/version``); SGLang, docs.sglang.ai (``/get_model_info``); Anthropic,
docs.anthropic.com, "Errors" and "List models"; our own service, backends/serve/app.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from backends.foreign.reader import at

QUESTIONS = (
    *("/healthz", "/readyz", "/props", "/api/v0/models", "/api/version", "/version", "/get_model_info", "/v1/models"),
)
"""The paths to GET, all at once and without a key."""


class Reply(msgspec.Struct, frozen=True):
    """What one path answered: the status, and the decoded JSON (None where it was none)."""

    status: int
    value: Any = None


class Dialect(msgspec.Struct, frozen=True):
    """`type`: the provider that speaks it. `server`: what runs there, in words, as far as it can be told."""

    type: str
    server: str


UNKNOWN = Dialect("openai", "an OpenAI-compatible server, as far as can be told")
_COMPATIBLE = Dialect("openai", "an OpenAI-compatible server")
_ENDPOINTS = {
    "/chat/completions": _COMPATIBLE,
    "/responses": Dialect("responses", "a server of the Responses API"),
    "/messages": Dialect("anthropic", "a server of Anthropic's Messages API"),
    "/api/chat": Dialect("ollama", "Ollama"),
}
_HOSTS = {"api.openai.com": Dialect("openai", "OpenAI"), "api.anthropic.com": Dialect("anthropic", "Anthropic")}


def by_url(url: str) -> Dialect | None:
    """The dialect where the URL says it: a provider's host, an endpoint, or the ``/v1`` of OpenAI and its like."""
    if known := _HOSTS.get(urlsplit(url).hostname or ""):
        return known
    base = url.rstrip("/")
    for endpoint, dialect in _ENDPOINTS.items():
        if base.endswith(endpoint):
            return dialect
    return _COMPATIBLE if re.search(r"/v\d\w*(/openai)?$", base) else None


def by_replies(replies: Mapping[str, Reply]) -> Dialect | None:
    """The dialect that the answers to `QUESTIONS` show; None where they show none. The most telling comes first."""

    def ok(path: str, *keys: str) -> Any:
        reply = replies.get(path)
        return at(reply.value, keys) if reply is not None and reply.status == 200 else None

    ready = replies.get("/readyz")
    if (
        ok("/healthz", "status") == "ok"
        and ready is not None
        and at(ready.value, ("status",)) in ("ready", "not ready")
    ):
        return Dialect("native", "llmchat serve")
    if isinstance(ok("/props", "default_generation_settings"), dict):
        return Dialect("openai", "llama-server")
    if isinstance(ok("/api/v0/models", "data"), list):
        return Dialect("openai", "LM Studio")
    if isinstance(ok("/api/version", "version"), str):
        return Dialect("ollama", "Ollama")
    if isinstance(ok("/get_model_info", "model_path"), str) or _owner(replies) == "sglang":
        return Dialect("openai", "SGLang")
    if isinstance(ok("/version", "version"), str) and _owner(replies) in ("vllm", ""):
        return Dialect("openai", "vLLM")
    return _by_models(replies.get("/v1/models"))


def _by_models(reply: Reply | None) -> Dialect | None:
    if reply is None:
        return None
    error = at(reply.value, ("error",))
    if at(reply.value, ("type",)) == "error" and isinstance(at(error, ("type",)), str):
        return Dialect("anthropic", "a server of Anthropic's Messages API")
    models = at(reply.value, ("data",))
    if reply.status == 200 and isinstance(models, list):
        if models and all(at(model, ("type",)) == "model" and at(model, ("object",)) is None for model in models):
            return Dialect("anthropic", "a server of Anthropic's Messages API")
        return _COMPATIBLE
    return _COMPATIBLE if reply.status in (401, 403) and error is not None else None


def _owner(replies: Mapping[str, Reply]) -> str:
    """`owned_by` of the first model; '' where it is not told, as without a key."""
    reply = replies.get("/v1/models")
    models = at(reply.value, ("data",)) if reply is not None else None
    return str(at(models[0], ("owned_by",)) or "") if isinstance(models, list) and models else ""
