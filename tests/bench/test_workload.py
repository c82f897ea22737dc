"""Lengths, prompts and arrivals from a seed."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from statistics import fmean

import pytest

from backends.bench.workload import Lengths, Workload, poisson, read_prompts
from backends.errors import BackendError


@pytest.mark.parametrize(
    ("text", "middle"), [("128", 128), ("100-200", 150), ("normal:128,8", 128), ("lognormal:64,256", 64)]
)
def test_lengths_are_drawn_around_what_was_said(text: str, middle: float) -> None:
    rng = random.Random(3)
    drawn = sorted(Lengths.parse(text).draw(rng) for _ in range(2001))
    assert drawn[1000] == pytest.approx(middle, rel=0.1)
    assert drawn[0] >= 1


def test_the_95th_percentile_of_lognormal_lengths_is_the_one_that_was_said() -> None:
    rng = random.Random(4)
    drawn = sorted(Lengths.parse("lognormal:64,256").draw(rng) for _ in range(4000))
    assert drawn[3800] == pytest.approx(256, rel=0.15)


@pytest.mark.parametrize("text", ["", "many", "200-100", "normal:1", "lognormal:0,4", "-5"])
def test_what_is_no_length_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BackendError, match="16-256"):
        Lengths.parse(text)


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    def first(seed: int) -> list[object]:
        return list(itertools.islice(Workload(seed=seed).requests(), 5))

    assert first(1) == first(1) != first(2)


def test_a_share_of_the_prompts_begins_alike_and_no_others() -> None:
    workload = Workload(Lengths("fixed", 50), shared_prefix=40, shared_share=0.5)
    asked = list(itertools.islice(workload.requests(), 200))
    prefixes = [request.messages[0].content for request in asked if request.messages[0].role == "system"]
    assert 70 < len(prefixes) < 130
    assert len(set(prefixes)) == 1
    assert len(prefixes[0].split()) == 40
    assert {sum(len(turn.content.split()) for turn in request.messages) for request in asked} == {50}
    assert len({request.messages[-1].content for request in asked}) == 200


def test_arrivals_are_as_many_as_the_rate_says_and_irregular() -> None:
    times = list(itertools.islice(poisson(10.0, seed=5), 2000))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert fmean(gaps) == pytest.approx(0.1, rel=0.1)
    assert sum(gap < 0.01 for gap in gaps) == pytest.approx(190, rel=0.3)  # 1 - exp(-0.1) of them


def test_prompts_are_read_in_all_three_forms(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('"one"\n\n{"prompt": "two"}\n{"messages": [{"role": "user", "content": "three"}]}\n')
    assert read_prompts(path) == ("one", "two", "three")


@pytest.mark.parametrize("line", ["no json", "{}", '{"messages": []}', "3", '{"prompt": 4}'])
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'"good"\n{line}\n')
    with pytest.raises(BackendError, match="line 2"):
        read_prompts(path)
