"""Thinking told apart: whatever the cuts, in every dialect, in the engine's events and counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.backend import Sampling
from backends.engine.detokenizer import Detokenizer
from backends.engine.reasoning import BLOCKS, opened_by
from backends.events import Reasoning
from tests.engine.answers import ask
from tests.engine.conftest import StartEngine
from tests.fakes.gguf_model import CHATML, write_model

HARMONY = "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant<|channel|>final<|message|>It is 4."


def split(text: str, cuts: list[int] | None = None, stop: tuple[str, ...] = (), closing: str = "") -> tuple[str, str]:
    """Thinking and answer, `text` cut at the bytes `cuts` (None: at all of them)."""
    data = text.encode()
    edges = range(len(data) + 1) if cuts is None else sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    detokenizer = Detokenizer(stop, closing)
    said = []
    for start, end in itertools.pairwise(edges):
        said += detokenizer.push(data[start:end])
        if detokenizer.stopped:
            break
    else:
        said += detokenizer.finish()
    assert all(each.text for each in said)
    return tuple("".join(each.text for each in said if each.is_reasoning is kind) for kind in (True, False))


@pytest.mark.parametrize(("begin", "close"), BLOCKS.items())
def test_every_dialect(begin: str, close: str) -> None:
    for cuts in (None, [], [3, 9]):
        assert split(f"{begin}\nHm, €.\n{close}\n\nIt is 4.", cuts) == ("Hm, €.", "It is 4.")
        assert split(f"Hm.\n\nYes.{close}It is 4.", cuts, closing=close) == ("Hm.\n\nYes.", "It is 4.")
        assert split(f"{begin}\n\n{close}\n\nIt is 4.", cuts) == ("", "It is 4.")
        assert split(f"{begin}cut sh", cuts) == ("cut sh", "")


@pytest.mark.parametrize("cuts", [None, [], [5, 30, 60]])
def test_harmony(cuts: list[int] | None) -> None:
    assert split(HARMONY, cuts) == ("Let me see.", "It is 4.")
    assert split("<|channel|>final<|message|>It is 4.", cuts) == ("", "It is 4.")
    assert split("<|channel|>analysis<|message|>Let", cuts) == ("Let", "")


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "  indented",
        "<thin",
        "<b>think</b>",
        "It is <think>not</think> so",
        "",
        " \n",
        "<|channel|>" + "x" * 300,
    ],
)
def test_what_is_no_thinking_is_the_answer_to_the_letter(text: str) -> None:
    for cuts in (None, [], [2]):
        assert split(text, cuts) == ("", text)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "th", "ink>", "/", " ", "\n", "a", "€"])).map("".join))
def test_the_cuts_do_not_matter(text: str) -> None:
    assert split(text, None) == split(text, [])


def test_stop_strings_concern_the_answer_alone() -> None:
    for cuts in (None, []):
        assert split("<think>a STOP b</think>c STOP d", cuts, ("STOP",)) == ("a STOP b", "c ")
        assert split("<think>x</think>STOP", cuts, ("STOP",)) == ("x", "")


def test_a_prompt_that_has_opened_a_block() -> None:
    assert opened_by("<|im_start|>assistant\n<think>\n") == "</think>"
    assert opened_by("<think>\n\n</think>\n\n") == opened_by("assistant\n") == opened_by("") == ""


async def test_the_engine_sends_reasoning_and_counts_it(start: StartEngine, tmp_path: Path) -> None:
    """The model's own words are noise, so a bias has it think: it cannot but begin with the mark, and close it."""
    template = CHATML.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}")
    assert template != CHATML
    engine = await start(model=str(write_model(tmp_path / "thinks.gguf", template=template)))
    grammar = 'root ::= "the plan" "</think>" "\\n\\n" "invoice refund"'
    thinking = await ask(engine, "pause", 60)
    assert thinking.text == ""
    assert {type(event) for event in thinking.events} >= {Reasoning}
    counted = sum(event.count for event in thinking.events if isinstance(event, Reasoning))
    assert thinking.metas[-1].reasoning_tokens == thinking.done.total_tokens == counted == 60
    bound = await ask(engine, "pause", 60, sampling=Sampling(grammar=grammar))
    assert bound.text == "the plan</think>\n\ninvoice refund", "with a grammar there is no thinking"
    assert bound.metas[-1].reasoning_tokens is None
    off = await ask(engine, "pause", 60, reasoning="off")
    assert off.text
    assert off.metas[-1].reasoning_tokens is None
