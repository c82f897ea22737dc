"""Grammars in llama.cpp: what they let through, their ends, and that a bad one is one request's own trouble."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.backend import Sampling
from backends.engine.draw import Draw
from backends.engine.grammar import Grammar
from backends.engine.json_schema import MAX_DEPTH, to_gbnf
from backends.engine.runner import Job, Runner
from backends.engine.sampler import END
from backends.errors import BackendError, Code
from tests.engine.answers import ask
from tests.engine.conftest import StartEngine
from tests.fakes.gguf_model import write_model

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 4},
        "age": {"type": "integer"},
        'q"uo\\te': {"enum": ['a"b', "é\n", None]},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/name"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "age", 'q"uo\\te', "friends"],
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "maxLength": 3}},
}


def accepts(runner: Runner, source: str, text: str) -> bool:
    """Whether `text` is whole for the grammar, byte by byte as tokens cut it."""
    grammar = Grammar(runner, source)
    try:
        for token in runner.tokenize(text, False):
            if not grammar.fits(np.array([token], np.int32))[0]:
                return False
            grammar.accept(token)
        return bool(grammar.fits(np.array([2], np.int32))[0])  # <|im_end|>
    finally:
        grammar.close()


def test_what_fits_is_let_through_and_nothing_else(runner: Runner) -> None:
    source = 'root ::= ("the" | " plan")+ "é"?'
    assert accepts(runner, source, "the plan")
    assert accepts(runner, source, "the planthe€"[:-1] + "é")
    assert not accepts(runner, source, "the invoice")
    assert not accepts(runner, source, "")
    assert not accepts(runner, source, "the pla")


def test_control_tokens_never_fit(runner: Runner) -> None:
    """As text they would: ``<|im_start|>`` is no newline. But they leave no text behind."""
    grammar = Grammar(runner, r"root ::= [^\n]*")
    assert grammar.fits(np.arange(3, dtype=np.int32)).tolist() == [True, False, True]  # both ends, not the start
    grammar.close()


def test_what_does_not_fit_cannot_be_accepted(runner: Runner) -> None:
    """llama.cpp would end the process."""
    grammar = Grammar(runner, 'root ::= "the"')
    wrong = runner.tokenize("plan", False)[0]
    for token in (wrong, 2):
        with pytest.raises(ValueError, match="does not fit"):
            grammar.accept(token)
    grammar.close()


@pytest.mark.parametrize("source", ['root ::= root "x" | "x"', 'root ::= "x"{5000}', 'root ::= "\\q"'])
def test_llama_cpp_may_refuse_what_was_passed(runner: Runner, source: str) -> None:
    with pytest.raises(BackendError) as caught:
        runner.check_grammar(source)
    assert caught.value.code == Code.BAD_REQUEST


def test_an_ambiguous_grammar_is_given_up(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every "x" doubles the ways to go on."""
    monkeypatch.setattr("backends.engine.grammar.PATIENCE", 0.05)
    grammar = Grammar(runner, 'root ::= "x" root "y" | "x" root "z" | "x"')
    token = runner.tokenize("x", False)[0]
    tokens = [token] * 25
    with pytest.raises(BackendError, match="ambiguous"):
        deque(map(grammar.accept, tokens), maxlen=0)
    grammar.close()


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, ["0", "-17"], ["x", "1.5", ""]),
        ({"type": "string"}, ['"a\\n\\u00e9é"', '""'], ['"a\nb"', "a"]),
        ({"enum": ['a"b', 3, None]}, ['"a\\"b"', "3", "null"], ['"a"']),
        ({"type": "string", "maxLength": 2}, ['"ab"'], ['"abc"']),
        ({"type": "string", "pattern": "^a.[0-9]{2,3}$"}, ['"ax12"', '"aé123"'], ['"ax1"', '"a"12"']),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 2}, ["[]", "[null,null]"], ["[null,null,null]"]),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, ["[null,null]"], ["[null]", "[]"]),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, ["[]"], ["[null]"]),
        ({"type": ["string", "null"]}, ['"x"', "null"], ["1"]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}, ["true"], ["1"]),
        (
            {
                "type": "object",
                "properties": {"node": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
                "required": ["node", "next"],
                "$defs": {"node": {"type": "object", "properties": {"node": {"type": "null"}}}},
            },
            ['{"node": 1, "next": {"node": null}}'],
            ['{"node": 1, "next": 2}'],
        ),
        ({}, ['{"a": [1, {"b": null}]}'], ["[1]x"]),
    ],
)
def test_a_schema_admits_what_it_says(runner: Runner, schema: dict[str, Any], good: list[str], bad: list[str]) -> None:
    source = to_gbnf(schema)
    assert [text for text in good if not accepts(runner, source, text)] == []
    assert [text for text in bad if accepts(runner, source, text)] == []


def nested(depth: int) -> dict[str, Any]:
    return {"type": "array", "items": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"a/b": {"$ref": "https://example.com/x"}}}, "at /properties/a~1b/$ref"),
        ({"$ref": "other.json"}, "nothing is fetched"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        (nested(MAX_DEPTH + 1), "levels"),
        ({"anyOf": [{"type": "null"}] * 2_000}, "at /anyOf/"),
        ({"properties": {str(number): {} for number in range(300)}}, "at /properties: 300 entries"),
        ({"items": {"type": "string", "minLength": 10**9}}, "at /items/minLength"),
        ({"type": "array", "items": {}, "maxItems": 10**6}, "at /maxItems"),
        ({"type": "string", "pattern": "^" + "(a|" * 500}, "at /pattern"),
        ({"type": "string", "pattern": "a"}, "Pattern must start"),
        ({"type": "strange"}, "strange"),
        ({"type": {"a": 1}}, "json_schema"),
        ({"items": 5, "type": "array"}, "json_schema"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_with_its_place(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BackendError) as caught:
        to_gbnf(schema)
    assert caught.value.code == Code.BAD_REQUEST
    assert said in caught.value.message


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
async def test_an_answer_is_of_its_schema(tmp_path: Path, start: StartEngine, temperature: float) -> None:
    """Whatever a random model would say, and in company that is not bound by it."""
    engine = await start(model=str(write_model(tmp_path / "ends.gguf", end_gain=1.0)), max_streams=2)
    for seed in range(3):
        sampling = Sampling(temperature=temperature, seed=seed, json_schema=PERSON)
        bound, free = await asyncio.gather(
            ask(engine, "invoice", sampling=sampling, max_tokens=400), ask(engine, "plan", max_tokens=20)
        )
        assert bound.done.finish_reason in ("stop", "length")
        assert free.text
        if bound.done.finish_reason == "stop":
            person = json.loads(bound.text)
            assert list(person) == PERSON["required"]
            assert 1 <= len(person["name"]) <= 4
            assert 1 <= len(person["friends"]) <= 2


async def test_an_answer_ends_where_nothing_can_follow(start: StartEngine) -> None:
    """The model's end-of-turn token is as unlikely as can be, and banned besides."""
    engine = await start()
    bias = tuple((token, -100.0) for token in (0, 2))
    for temperature in (0.0, 1.0):
        sampling = Sampling(temperature=temperature, grammar='root ::= "the plan"', logit_bias=bias)
        answer = await ask(engine, sampling=sampling)
        assert (answer.text, answer.done.finish_reason) == ("the plan", "stop")


async def test_a_bad_grammar_is_refused_and_nobody_else_notices(start: StartEngine) -> None:
    engine = await start(max_streams=2)
    fine, bad = await asyncio.gather(
        ask(engine, max_tokens=30), ask(engine, sampling=Sampling(grammar='root ::= root "x" | "x"'))
    )
    assert bad.error.code == Code.BAD_REQUEST
    assert fine.done.finish_reason == "length"


async def test_a_grammar_that_explodes_fails_alone(start: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.engine.grammar.PATIENCE", 0.2)
    engine = await start(max_streams=2)
    explosive = Sampling(grammar='root ::= "x" root "y" | "x" root "z"')
    fine, bad = await asyncio.gather(ask(engine, max_tokens=100), ask(engine, sampling=explosive, max_tokens=100))
    assert "ambiguous" in bad.error.message
    assert fine.done.finish_reason == "length"


def test_draws_under_a_grammar_keep_the_proportions(runner: Runner) -> None:
    """The distribution is the loose one, what does not fit left out and the rest scaled; draws follow it."""
    assert runner.decode([Job(0, 0, runner.tokenize("the plan", False), 1)]) == 0
    draw = Draw(temperature=3.0, top_k=40, top_p=1.0, min_p=0.0, seed=5)
    free = runner.make_sampler(draw)
    loose = dict(zip(*(column.tolist() for column in free.distribution(0)), strict=True))
    vowels = {token for token in loose if runner.piece(token)[:1] in b"aeiouAEIOU."}
    assert vowels
    source = "root ::= [aeiouAEIOU.] [^\\x00]*"
    bound = runner.make_sampler(Draw(**{**{n: getattr(draw, n) for n in draw.__struct_fields__}, "grammar": source}))
    found = {token: p for token, p in zip(*(c.tolist() for c in bound.distribution(0)), strict=True) if p}
    assert found == pytest.approx({t: loose[t] / sum(loose[v] for v in vowels) for t in vowels}, rel=1e-4)
    assert bound.sample(0) in vowels
    for sampler in (free, bound):
        sampler.close()
    runner.remove(0, 0)


def test_where_no_candidate_fits_the_likeliest_that_does_is_found(runner: Runner) -> None:
    assert runner.decode([Job(0, 0, runner.tokenize("the plan", False), 1)]) == 0
    logits = runner.logits(0).copy()
    digits = [token for token in range(runner.n_vocab) if runner.piece(token) in {b"%d" % n for n in range(10)}]
    best = max(digits, key=lambda token: logits[token])
    greedy = runner.make_sampler(Draw(temperature=0, grammar='root ::= [0-9] "x"'))
    assert greedy.sample(0) == best
    assert greedy.sample(0) == runner.tokenize("x", False)[0]
    assert greedy.sample(0) in (0, 2), "an end of turn, which has a logit here"
    greedy.close()
    banned = runner.make_sampler(Draw(temperature=0, grammar='root ::= "x"', logit_bias=((0, -np.inf), (2, -np.inf))))
    banned.sample(0)
    assert banned.sample(0) == END
    banned.close()
    runner.remove(0, 0)
