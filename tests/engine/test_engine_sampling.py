"""Sampling as a client sees it: rules per request, whatever the neighbours ask for, and log probabilities on tokens."""

from __future__ import annotations

import asyncio
import math

import pytest

from backends.backend import Sampling
from backends.events import Token, decode, encode
from tests.engine.answers import Answer, ask
from tests.engine.conftest import StartEngine

RULES = [
    Sampling(temperature=1.5, seed=1),
    Sampling(temperature=1.5, seed=1, top_k=0, top_p=0.9, presence_penalty=1.0),
    Sampling(temperature=2.0, seed=2, typical_p=0.7, top_k=0, min_p=0.0, top_p=1.0),
    Sampling(temperature=0, repetition_penalty=1.5, penalty_last_n=1000),
    Sampling(temperature=1.0, seed=3, dry_multiplier=2.0),
    Sampling(temperature=1.0, seed=4, grammar="root ::= [a-z ]+"),
]


async def test_a_seed_repeats_an_answer_in_any_company(start: StartEngine) -> None:
    engine = await start(max_streams=4, prefill_chunk=24)
    prompts = ["pause", "the annual plan " * 12, "refund " * 30, "invoice"]
    asked = [(prompts[at % 4], rule) for at, rule in enumerate(RULES)]
    alone = [(await ask(engine, content, 40, sampling=rule)).text for content, rule in asked]
    together = await asyncio.gather(*(ask(engine, content, 40, sampling=rule) for content, rule in asked))
    assert [answer.text for answer in together] == alone
    assert len(set(alone)) == len(asked)


async def test_bias_by_text_bans_a_word(start: StartEngine) -> None:
    engine = await start()
    plain = await ask(engine, max_tokens=40)
    character = next(character for character in plain.text if character.isalpha())
    banned = await ask(engine, max_tokens=40, sampling=Sampling(temperature=0, logit_bias=((character, -100.0),)))
    assert banned.text != plain.text


def logprob_sum(answer: Answer) -> float:
    return sum(entry.logprob for event in answer.events if isinstance(event, Token) for entry in event.logprobs)


@pytest.mark.parametrize("stop", [(), ("q",)])
async def test_every_token_brings_its_log_probability(start: StartEngine, stop: tuple[str, ...]) -> None:
    engine = await start()
    plain = await ask(engine, max_tokens=40, sampling=Sampling(temperature=0, stop=stop))
    asked = await ask(engine, max_tokens=40, sampling=Sampling(temperature=0, stop=stop, top_logprobs=2))
    assert asked.text == plain.text
    tokens = [event for event in asked.events if isinstance(event, Token)]
    assert all(len(token.logprobs) == token.count for token in tokens)
    entries = [entry for token in tokens for entry in token.logprobs]
    assert "".join(entry.token for entry in entries).startswith(asked.text)
    assert all(entry.top[0].id == entry.id and len(entry.top) == 2 for entry in entries), "greedy takes the first"
    assert all(math.isfinite(entry.logprob) and entry.logprob <= 0 for entry in entries)
    assert [decode("token", encode(token)) for token in tokens] == tokens
    assert logprob_sum(plain) == 0


def test_a_token_without_logprobs_is_on_the_wire_what_it_was() -> None:
    assert encode(Token("x", 2)) == b'{"text":"x","count":2}'


async def test_bad_sampling_is_refused_with_its_name(start: StartEngine) -> None:
    engine = await start()
    for sampling, said in [
        (Sampling(logit_bias=((10**6, 1.0),)), "no token 1000000"),
        (Sampling(json_schema={"$ref": "http://x"}), "/$ref"),
        (Sampling(grammar="root ::= ("), "line 1, column 10"),
    ]:
        answer = await ask(engine, sampling=sampling)
        assert answer.error.code == "BAD_REQUEST"
        assert said in answer.error.message


async def test_drafts_change_nothing_under_any_rule(start: StartEngine) -> None:
    """Every drafted token goes through the grammar and the penalties, and has its log probability told."""
    plain, drafting = await start(draft="off"), await start(draft="ngram")
    repeating = 'root ::= ("the plan " "invoice ")+'
    rules = [*RULES, Sampling(temperature=0, grammar=repeating), Sampling(temperature=0, top_logprobs=1)]
    drafted = 0
    for rule in rules:
        expected, found = [await ask(engine, "the plan " * 5, 60, sampling=rule) for engine in (plain, drafting)]
        assert found.text == expected.text
        told = [
            [entry.id for event in answer.events if isinstance(event, Token) for entry in event.logprobs]
            for answer in (expected, found)
        ]
        assert told[0] == told[1]
        assert len(told[0]) == (60 if rule.top_logprobs is not None else 0)
        drafted += found.metas[-1].draft_tokens or 0
    assert drafted > 0
