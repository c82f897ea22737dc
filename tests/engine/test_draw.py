"""A request's sampling: defaults, the GGUF's own recommendation, and what is refused."""

from __future__ import annotations

import math

import pytest

from backends.backend import Sampling
from backends.engine import draw
from backends.engine.draw import Draw, model_defaults
from backends.errors import BackendError, Code


def resolve(sampling: Sampling, defaults: Draw | None = None) -> Draw:
    """With a tokenizer that makes one token of each character."""
    return draw.resolve(sampling, defaults or Draw(), lambda text: [ord(character) for character in text], 200)


def test_what_a_request_leaves_open_comes_from_the_defaults() -> None:
    found = resolve(Sampling(top_k=7, seed=3), Draw(temperature=0.3, top_p=0.5))
    assert found == Draw(temperature=0.3, top_k=7, top_p=0.5, min_p=0.05, seed=3)
    assert not found.greedy
    assert resolve(Sampling(temperature=0)).greedy


def test_every_rule_of_a_request_arrives() -> None:
    asked = Sampling(
        temperature=0.5,
        top_k=1,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.8,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        penalty_last_n=5,
        dry_multiplier=0.6,
        dry_base=1.5,
        dry_allowed_length=3,
        dry_penalty_last_n=9,
        grammar='root ::= "x"',
        top_logprobs=3,
    )
    found = resolve(asked)
    for name in asked.__struct_fields__:
        if name not in ("seed", "stop", "logit_bias", "json_schema"):
            assert getattr(found, name) == getattr(asked, name)


def test_without_a_seed_every_request_draws_its_own() -> None:
    seeds = {resolve(Sampling()).seed for _ in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**63, 0])
def test_any_seed_fits_llama_cpp_and_never_means_random(seed: int) -> None:
    assert 0 <= resolve(Sampling(seed=seed)).seed < 0xFFFFFFFF


def test_bias_is_by_token_or_by_text_and_adds_up() -> None:
    found = resolve(Sampling(logit_bias=((7, 1.5), ("ab", -2.0), (97, 5.0), ("c", -100.0))))
    assert dict(found.logit_bias) == {7: 1.5, 97: 3.0, 98: -2.0, 99: -math.inf}


def test_the_largest_logit_decides_where_nothing_else_does() -> None:
    assert resolve(Sampling(temperature=0, top_k=3, penalty_last_n=9)).takes_the_largest
    for ruled in (
        Sampling(temperature=0, presence_penalty=0.1),
        Sampling(temperature=0, logit_bias=((1, 1.0),)),
        Sampling(temperature=0, dry_multiplier=0.8),
        Sampling(temperature=0, top_logprobs=0),
        Sampling(temperature=0, grammar='root ::= "x"'),
        Sampling(temperature=0.1),
    ):
        assert not resolve(ruled).takes_the_largest


def test_the_model_recommends() -> None:
    metadata = {"general.sampling.temp": "0.250000", "general.sampling.top_k": "20", "general.sampling.top_p": "0.9"}
    assert model_defaults(metadata) == Draw(temperature=0.25, top_k=20, top_p=0.9)


def test_a_recommendation_without_sense_is_ignored() -> None:
    assert model_defaults({"general.sampling.temp": "warm", "general.sampling.top_p": "7"}) == Draw()


@pytest.mark.parametrize(
    "bad",
    [
        Sampling(temperature=-0.1),
        Sampling(temperature=float("nan")),
        Sampling(temperature=float("inf")),
        Sampling(top_k=-1),
        Sampling(top_p=0.0),
        Sampling(top_p=1.5),
        Sampling(min_p=-0.5),
        Sampling(typical_p=0.0),
        Sampling(repetition_penalty=0.0),
        Sampling(presence_penalty=float("inf")),
        Sampling(frequency_penalty=-101.0),
        Sampling(penalty_last_n=-1),
        Sampling(dry_multiplier=-1.0),
        Sampling(dry_base=0.5),
        Sampling(dry_allowed_length=0),
        Sampling(dry_penalty_last_n=2**20),
        Sampling(top_logprobs=-1),
        Sampling(top_logprobs=1000),
        Sampling(logit_bias=((1, 101.0),)),
        Sampling(logit_bias=((200, 1.0),)),
        Sampling(logit_bias=((-1, 1.0),)),
        Sampling(logit_bias=((1, float("nan")),)),
        Sampling(logit_bias=((1, 1.0),) * (draw.MAX_BIASED + 1)),
        Sampling(grammar="root ::="[:6]),
    ],
)
def test_bad_sampling_is_refused_by_name(bad: Sampling) -> None:
    with pytest.raises(BackendError) as caught:
        resolve(bad)
    assert caught.value.code == Code.BAD_REQUEST
    given = next(name for name in bad.__struct_fields__ if getattr(bad, name) not in (None, (), ""))
    assert given in caught.value.message


def test_grammar_and_schema_exclude_each_other() -> None:
    with pytest.raises(BackendError) as caught:
        resolve(Sampling(grammar='root ::= "x"', json_schema={}))
    assert "exclude" in caught.value.message
