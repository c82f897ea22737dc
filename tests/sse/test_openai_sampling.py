"""Sampling on the wire of OpenAI-compatible servers."""

from __future__ import annotations

from typing import Any

import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.errors import BackendError, Code
from backends.events import Logprob
from backends.sse.openai_sampling import LLAMA_SERVER, VLLM, logprobs_of, sampling_fields


def fields(owner: str = "", reasoning: Any = "auto", **sampling: Any) -> dict[str, Any]:
    request = ChatRequest((Message("user", "u"),), sampling=Sampling(**sampling), reasoning=reasoning)
    return sampling_fields(request, owner)


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    assert fields() == fields(LLAMA_SERVER) == fields(VLLM) == {}


def test_the_common_names() -> None:
    asked = {"temperature": 0.0, "top_p": 0.5, "seed": 0, "presence_penalty": 1.0, "frequency_penalty": -1.0}
    assert fields(**asked, stop=("x",)) == {**asked, "stop": ("x",)}
    assert fields(logit_bias=((50256, -100.0),)) == {"logit_bias": {"50256": -100.0}}
    assert fields(top_logprobs=2) == {"logprobs": True, "top_logprobs": 2}
    schema = {"type": "integer"}
    assert fields(json_schema=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def test_each_servers_own_names() -> None:
    assert fields(LLAMA_SERVER, repetition_penalty=1.1, penalty_last_n=9) == {"repeat_penalty": 1.1, "repeat_last_n": 9}
    assert fields(VLLM, repetition_penalty=1.1) == {"repetition_penalty": 1.1}
    assert fields(LLAMA_SERVER, grammar="g") == {"grammar": "g"}
    assert fields(VLLM, grammar="g") == {"structured_outputs": {"grammar": "g"}}
    for owner in (LLAMA_SERVER, VLLM):
        assert fields(owner, reasoning="off") == {"chat_template_kwargs": {"enable_thinking": False}}
    assert fields("openai", reasoning="off") == {}


def test_bias_by_text_goes_to_llama_server_only() -> None:
    assert fields(LLAMA_SERVER, logit_bias=(("x", 1.0),)) == {"logit_bias": (("x", 1.0),)}
    with pytest.raises(BackendError) as caught:
        fields(logit_bias=(("x", 1.0),))
    assert caught.value.code == Code.BAD_REQUEST


def test_log_probabilities_come_back() -> None:
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1, "id": 3}]}
    assert logprobs_of({"logprobs": {"content": [entry]}}) == (Logprob("a", -0.5, -1, (Logprob("b", -1.0, 3),)),)


@pytest.mark.parametrize("odd", [None, 5, {}, {"content": 5}, {"content": [5]}, {"content": [{"token": "a"}]}])
def test_odd_log_probabilities_are_passed_over(odd: Any) -> None:
    assert logprobs_of({"logprobs": odd}) == ()
