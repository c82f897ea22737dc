"""What a server said about its error, made safe to show: short, one line, no control characters, no key. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import msgspec

LIMIT = 300
"""Characters of a server's message that are shown."""

_ESCAPES = re.compile(
    r"(?:\x1b[\[]|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"
)
_HIDDEN = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->")
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")
_TAG = re.compile(r"(?s)<[^>]*>")
_KEYS = ("message", "detail", "error", "msg", "error_description", "title")


def clean(text: str, limit: int = LIMIT, secrets: Iterable[str] = ()) -> str:
    """`text` on one line of at most `limit` characters without escapes, controls, bidi marks and `secrets`."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = _ESCAPES.sub("", text[: 20 * limit])
    text = "".join(c if unicodedata.category(c)[0] != "C" else (" " if c in "\n\r\t" else "") for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def excerpt(body: bytes, secrets: Iterable[str] = ()) -> str:
    """The message in an error's body: a JSON object's, an HTML page's title or words, or the plain text; may be ''.

    JSON shapes in use: ``{"error": {"message": …}}`` (OpenAI), ``{"error": "…"}`` (Ollama), ``{"detail": …}``
    (FastAPI, whose `detail` may be a list of ``{"msg": …}``), ``{"message": …}``.
    """
    text = body.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if text[:1] in ("{", "["):
        try:
            return clean(message_of(msgspec.json.decode(text)) or text, secrets=secrets)
        except (msgspec.DecodeError, RecursionError):
            return clean(text, secrets=secrets)
    if text[:1] == "<":
        title = _TITLE.search(text)
        import html  # its table of entities is large, and error pages are few

        text = html.unescape(title[1] if title else _TAG.sub(" ", _HIDDEN.sub(" ", text)))
    return clean(text, secrets=secrets)


def is_context_full(error: Any) -> bool:
    """True when a decoded ``{"type": …, "code": …}`` says that prompt and answer do not fit the model's context.

    ``exceed_context_size_error`` is llama-server's, ``context_length_exceeded`` OpenAI's and vLLM's.
    """
    return not _kinds(error).isdisjoint(("exceed_context_size_error", "context_length_exceeded"))


def is_out_of_credit(error: Any) -> bool:
    """True when it says that nothing is paid for: OpenAI sends that as a 429, which it is not."""
    return "insufficient_quota" in _kinds(error)


def _kinds(error: Any) -> set[str]:
    kinds = (error.get("type"), error.get("code")) if isinstance(error, dict) else ()
    return {kind for kind in kinds if isinstance(kind, str)}


def message_of(value: Any, depth: int = 0) -> str:
    """The human sentence inside a decoded JSON error; '' where there is none."""
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, dict):
        return next((found for key in _KEYS if (found := message_of(value.get(key), depth + 1))), "")
    if isinstance(value, list):
        return next((found for item in value[:8] if (found := message_of(item, depth + 1))), "")
    return ""
