"""The models that are measured, in a real llama.cpp."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from backends.backend import ChatRequest, Message, Sampling
from backends.bench.models import SHAPES, Shape, make, pair, vocabulary
from backends.bench.workload import Lengths, Workload
from backends.engine import Engine, EngineOptions
from backends.events import Done, Token

TINY = Shape("tiny", 64, 2, 4, 2, 96, 1_200, context=512)


async def answer(path: Path, text: str, limit: int = 24) -> tuple[str, Done]:
    engine = Engine(EngineOptions(model=str(path), n_threads=1, max_streams=1))
    request = ChatRequest((Message("user", text),), max_tokens=limit, sampling=Sampling(temperature=0))
    events = [event async for event in engine.stream(request)]
    await engine.aclose()
    assert isinstance(events[-1], Done), events[-1]
    return "".join(event.text for event in events if isinstance(event, Token)), events[-1]


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
async def test_llama_cpp_loads_it_and_its_answers_end_at_their_limit_only(tmp_path: Path, kind: str) -> None:
    path = make(msgspec.structs.replace(TINY, kind=kind), tmp_path)
    text, done = await answer(path, "ab cd ef")
    assert (done.total_tokens, done.finish_reason) == (24, "length")
    assert len(set(text.split())) > 5  # no loop over a few words


async def test_a_word_of_two_letters_is_one_token(tmp_path: Path) -> None:
    engine = Engine(EngineOptions(model=str(make(TINY, tmp_path)), n_threads=1))
    await engine.ready()
    text = next(Workload(Lengths("fixed", 200)).requests()).messages[-1].content
    counted = engine.count_tokens(" " + text)
    await engine.aclose()
    assert counted == 200


async def test_a_target_without_noise_says_what_its_draft_says(tmp_path: Path) -> None:
    exact, noisy = pair(TINY, 1, 0.0), pair(TINY, 1, 1.0)
    assert exact.draft == noisy.draft
    text, _ = await answer(make(exact.draft, tmp_path), "ab cd")
    assert (await answer(make(exact.target, tmp_path), "ab cd"))[0] == text
    assert (await answer(make(noisy.target, tmp_path), "ab cd"))[0] != text


def test_a_model_is_the_same_every_time_and_not_written_twice(tmp_path: Path) -> None:
    one, other = make(TINY, tmp_path / "one"), make(TINY, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()
    before = one.stat().st_mtime_ns
    assert make(TINY, tmp_path / "one").stat().st_mtime_ns == before
    assert make(TINY, tmp_path / "one", seed=2).read_bytes() != one.read_bytes()
    assert not list((tmp_path / "one").glob("*.part"))


@pytest.mark.parametrize(("name", "low", "high"), [("S", 0.12e9, 0.13e9), ("M", 0.74e9, 0.76e9), ("8B", 8e9, 8.1e9)])
def test_shapes_have_the_size_of_what_they_stand_for(name: str, low: float, high: float) -> None:
    assert low < SHAPES[name].parameters < high


def test_the_largest_vocabulary_has_no_word_twice() -> None:
    tokens, types = vocabulary(152_000)
    assert len(tokens) == len(types) == len(set(tokens)) == 152_000
    assert not np.isin([0, 1, 2], [index for index, kind in enumerate(types) if kind == 1]).any()
