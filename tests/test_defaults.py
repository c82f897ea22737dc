"""Sampling from the configuration: where a request leaves it open, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.config import parse
from backends.defaults import WithSampling, completed
from backends.errors import ConfigError
from backends.providers import check
from tests.fakes.scripted import Scripted, answer


def test_a_request_decides_first() -> None:
    defaults = Sampling(temperature=0.7, top_k=5, stop=("END",), logit_bias=(("x", 1.0),))
    asked = Sampling(temperature=0.0, stop=("a",))
    found = completed(asked, defaults)
    assert found == Sampling(temperature=0.0, top_k=5, stop=("a",), logit_bias=(("x", 1.0),))
    assert completed(asked, Sampling()) == asked


def test_one_form_is_enough() -> None:
    assert completed(Sampling(grammar="g"), Sampling(json_schema={})) == Sampling(grammar="g")
    assert completed(Sampling(json_schema={}), Sampling(grammar="g")) == Sampling(json_schema={})


async def test_every_request_is_completed() -> None:
    inner = Scripted(*answer("ok"))
    backend = WithSampling(inner, Sampling(top_p=0.5))
    request = ChatRequest((Message("user", "hi"),))
    await backend.warm(request)
    assert [event async for event in backend.stream(request)]
    await backend.aclose()
    assert {each.sampling for each in inner.requests} == {Sampling(top_p=0.5)}


def test_any_backend_may_have_it(tmp_path: Path) -> None:
    text = """
[backends.a]
type = "openai"
url = "http://127.0.0.1:1"
sampling = {temperature = 0.25, logit_bias = [["x", -5], [3, 1.5]]}
"""
    options = check(parse(text))["a"]
    assert options.sampling == Sampling(temperature=0.25, logit_bias=(("x", -5.0), (3, 1.5)))
    with pytest.raises(ConfigError, match="temprature"):
        check(parse(text.replace("temperature", "temprature")))
