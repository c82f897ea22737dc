"""Which dialect a server is taken to speak: from its URL, and from what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.foreign.dialect import QUESTIONS, Dialect, Reply, by_replies, by_url


@pytest.mark.parametrize(
    ("url", "type_name"),
    [
        ("https://api.openai.com", "openai"),
        ("https://api.anthropic.com", "anthropic"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://openrouter.ai/api/v1", "openai"),
        ("http://box:8000/v1/", "openai"),
        ("https://host/v1beta/openai", "openai"),
        ("http://box/v1/chat/completions", "openai"),
        ("http://box/v1/responses", "responses"),
        ("http://box/v1/messages", "anthropic"),
        ("http://box/api/chat", "ollama"),
        ("http://box:11434", None),
        ("http://box/proxy", None),
        ("http://localhost", None),
    ],
)
def test_by_url(url: str, type_name: str | None) -> None:
    found = by_url(url)
    assert (found.type if found else None) == type_name


MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "someone"}]}
ANSWERS: list[tuple[dict[str, Reply], Dialect]] = [
    (
        {"/healthz": Reply(200, {"status": "ok"}), "/readyz": Reply(503, {"status": "not ready"})},
        Dialect("native", "llmchat serve"),
    ),
    (
        {"/props": Reply(200, {"default_generation_settings": {}}), "/v1/models": Reply(200, MODELS)},
        Dialect("openai", "llama-server"),
    ),
    (
        {"/api/v0/models": Reply(200, {"data": []}), "/v1/models": Reply(200, MODELS)},
        Dialect("openai", "LM Studio"),
    ),
    (
        {"/api/version": Reply(200, {"version": "0.12"}), "/v1/models": Reply(200, MODELS)},
        Dialect("ollama", "Ollama"),
    ),
    ({"/get_model_info": Reply(200, {"model_path": "m"})}, Dialect("openai", "SGLang")),
    ({"/v1/models": Reply(200, {"data": [{"id": "m", "owned_by": "sglang"}]})}, Dialect("openai", "SGLang")),
    (
        {
            "/version": Reply(200, {"version": "0.11"}),
            "/v1/models": Reply(200, {"data": [{"id": "m", "owned_by": "vllm"}]}),
        },
        Dialect("openai", "vLLM"),
    ),
    (
        {"/version": Reply(200, {"version": "0.11"}), "/v1/models": Reply(401, {"error": "Unauthorized"})},
        Dialect("openai", "vLLM"),
    ),
    (
        {"/version": Reply(200, {"version": "9"}), "/v1/models": Reply(200, MODELS)},
        Dialect("openai", "an OpenAI-compatible server"),
    ),
    (
        {"/v1/models": Reply(401, {"type": "error", "error": {"type": "authentication_error", "message": "no key"}})},
        Dialect("anthropic", "a server of Anthropic's Messages API"),
    ),
    (
        {"/v1/models": Reply(200, {"data": [{"type": "model", "id": "c"}]})},
        Dialect("anthropic", "a server of Anthropic's Messages API"),
    ),
    (
        {"/v1/models": Reply(401, {"error": {"message": "no key"}})},
        Dialect("openai", "an OpenAI-compatible server"),
    ),
]


@pytest.mark.parametrize(("replies", "dialect"), ANSWERS)
def test_by_what_it_answers(replies: dict[str, Reply], dialect: Dialect) -> None:
    nothing = {path: Reply(404, {"error": "Unexpected endpoint"}) for path in QUESTIONS}
    assert by_replies(nothing | replies) == dialect


@pytest.mark.parametrize(
    "replies",
    [
        {},
        {path: Reply(404) for path in QUESTIONS},
        {path: Reply(200) for path in QUESTIONS},  # a web page for everything
        {path: Reply(200, {}) for path in QUESTIONS},
        {"/healthz": Reply(200, {"status": "ok"})},
    ],
)
def test_answers_that_tell_nothing(replies: dict[str, Reply]) -> None:
    assert by_replies(replies) is None


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(QUESTIONS),
        st.builds(
            Reply,
            st.sampled_from([200, 401, 404]),
            st.recursive(
                st.none() | st.text() | st.integers(),
                lambda inner: (
                    st.lists(inner)
                    | st.dictionaries(st.sampled_from(["data", "error", "type", "status", "version"]), inner)
                ),
            ),
        ),
    )
)
def test_no_answer_is_too_odd(replies: dict[str, Any]) -> None:
    by_replies(replies)
