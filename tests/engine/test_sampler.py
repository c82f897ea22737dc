"""The sampler against a naive one: the distribution after the filters, the draw, penalties, bias, DRY."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from backends.engine.draw import Draw
from backends.engine.runner import Job, Runner
from backends.engine.sampler import Distribution, Sampler

PLAIN = Draw(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
MakeSampler = Callable[[Draw], Sampler]


@pytest.fixture
def make(runner: Runner) -> Iterator[MakeSampler]:
    """`make(draw)`: a sampler on the output row 0 of a short prompt."""
    assert runner.decode([Job(0, 0, runner.tokenize("the plan the invoice", False), True)]) == 0
    made: list[Sampler] = []

    def make_sampler(draw: Draw) -> Sampler:
        made.append(runner.make_sampler(draw))
        return made[-1]

    yield make_sampler
    for sampler in made:
        sampler.close()
    runner.remove(0, 0)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


def naive(logits: np.ndarray, draw: Draw) -> dict[int, float]:
    """Token -> probability, filter by filter as their papers and llama.cpp's documentation have them."""
    order = sorted(range(logits.size), key=lambda token: -logits[token])
    if draw.top_k:
        order = order[: draw.top_k]
    p = softmax(logits[order])
    if draw.typical_p < 1:
        entropy = -(p * np.log(p)).sum()
        nearest = sorted(range(p.size), key=lambda at: abs(-np.log(p[at]) - entropy))
        kept = nearest[: int(np.searchsorted(np.cumsum(p[nearest]), draw.typical_p, side="right")) + 1]
        order = [order[at] for at in sorted(kept)]
    if draw.top_p < 1:
        p = softmax(logits[order])
        order = order[: int(np.searchsorted(np.cumsum(p), draw.top_p)) + 1]
    if draw.min_p:
        p = softmax(logits[order])
        order = [token for token, each in zip(order, p, strict=True) if each >= draw.min_p * p.max()]
    return dict(zip(order, softmax(logits[order] / draw.temperature), strict=True))


def as_dict(found: Distribution) -> dict[int, float]:
    return dict(zip(found.ids.tolist(), found.probabilities.tolist(), strict=True))


@pytest.mark.parametrize(
    "draw",
    [
        PLAIN,
        Draw(),
        Draw(temperature=0.3),
        Draw(temperature=2.5, top_k=5, top_p=1.0, min_p=0.0),
        Draw(top_k=200, top_p=1.0, min_p=0.0),
        Draw(top_k=1),
        Draw(temperature=1.5, top_k=0, top_p=0.7, min_p=0.0),
        Draw(temperature=1.5, top_k=0, top_p=1.0, min_p=0.2),
        Draw(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, typical_p=0.6),
        Draw(temperature=1.5, top_k=30, top_p=0.9, min_p=0.05, typical_p=0.8),
    ],
)
def test_the_filters_leave_what_the_naive_ones_leave(runner: Runner, make: MakeSampler, draw: Draw) -> None:
    found = as_dict(make(draw).distribution(0))
    assert found == pytest.approx(naive(runner.logits(0), draw), rel=1e-3, abs=1e-6)
    assert sum(found.values()) == pytest.approx(1, abs=1e-4)


def test_looking_changes_nothing(runner: Runner, make: MakeSampler) -> None:
    before = runner.logits(0).copy()
    sampler = make(Draw(repetition_penalty=1.5, logit_bias=((5, 3.0),)))
    sampler.accept(int(before.argmax()))
    assert as_dict(sampler.distribution(0)) == as_dict(sampler.distribution(0))
    assert (runner.logits(0) == before).all()


def test_tokens_are_drawn_with_their_probability(make: MakeSampler) -> None:
    """Chi-square on 3,000 draws of a fixed seed: the 99.99 % quantile is about 2.5 times the degrees of freedom."""
    draw = Draw(temperature=3.0, top_k=10, top_p=1.0, min_p=0.0, seed=11)
    sampler = make(draw)
    expected = as_dict(sampler.distribution(0))
    drawn = Counter(sampler.sample(0) for _ in range(3000))
    assert set(drawn) <= set(expected)
    chi_square = sum((drawn[token] - 3000 * p) ** 2 / (3000 * p) for token, p in expected.items())
    assert chi_square < 3 * len(expected)


def test_a_seed_repeats_the_draws(make: MakeSampler) -> None:
    def draws(seed: int) -> list[int]:
        sampler = make(Draw(temperature=2.0, seed=seed))
        return [sampler.sample(0) for _ in range(20)]

    assert draws(3) == draws(3)
    assert draws(3) != draws(4)


def test_greedy_takes_the_likeliest(runner: Runner, make: MakeSampler) -> None:
    best = int(runner.logits(0).argmax())
    sampler = make(Draw(temperature=0))
    assert sampler.sample(0) == best
    assert as_dict(sampler.distribution(0)) == {best: 1.0}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_bias_moves_a_token(runner: Runner, make: MakeSampler, temperature: float) -> None:
    best = int(runner.logits(0).argmax())
    banned = make(Draw(temperature=temperature, logit_bias=((best, float("-inf")),)))
    assert best not in as_dict(banned.distribution(0))
    other = int(runner.logits(0).argmin())
    wanted = make(Draw(temperature=temperature, logit_bias=((other, 100.0),)))
    assert wanted.sample(0) == other


def test_a_banned_token_does_not_spoil_typical_sampling(runner: Runner, make: MakeSampler) -> None:
    best = int(runner.logits(0).argmax())
    draw = Draw(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, typical_p=0.6)
    without = np.delete(runner.logits(0), best)
    renumbered = {token + (token >= best): p for token, p in naive(without, draw).items()}
    banned = make(replace(draw, logit_bias=((best, float("-inf")),)))
    assert as_dict(banned.distribution(0)) == pytest.approx(renumbered, rel=1e-3)


def test_penalties_follow_their_formula(runner: Runner, make: MakeSampler) -> None:
    logits = runner.logits(0).copy()
    positive, negative = int(logits.argmax()), int(logits.argmin())
    sampler = make(replace(PLAIN, repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.25))
    for token in (positive, positive, negative):
        sampler.accept(token)
    logits[positive] = logits[positive] / 1.3 - 2 * 0.25 - 0.5
    logits[negative] = logits[negative] * 1.3 - 0.25 - 0.5
    assert as_dict(sampler.distribution(0)) == pytest.approx(naive(logits, PLAIN), rel=1e-3, abs=1e-7)


def test_penalties_forget_what_is_far_behind(make: MakeSampler) -> None:
    sampler = make(Draw(temperature=0, presence_penalty=50.0, penalty_last_n=2))
    first, second = sampler.sample(0), sampler.sample(0)
    assert first != second
    assert sampler.sample(0) not in (first, second)
    assert sampler.sample(0) == first


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_dry_makes_a_repetition_end(make: MakeSampler, temperature: float) -> None:
    plain = make(Draw(temperature=temperature))
    again = plain.sample(0)
    sampler = make(Draw(temperature=temperature, dry_multiplier=50.0))
    for token in (300, 301, 302, again, 17, 300, 301, 302):
        sampler.accept(token)
    assert again not in as_dict(sampler.distribution(0))
    assert again in as_dict(plain.distribution(0))


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_log_probabilities_are_the_models_own(runner: Runner, make: MakeSampler, temperature: float) -> None:
    """Before any rule: a ban, say, does not show in them."""
    logits = runner.logits(0)
    expected = np.log(softmax(logits))
    best = int(logits.argmax())
    sampler = make(Draw(temperature=temperature, top_logprobs=3, logit_bias=((best, float("-inf")),)))
    token = sampler.sample(0)
    (entry,) = sampler.logprobs
    assert (entry.id, entry.token) == (token, runner.piece(token).decode("utf-8", "replace"))
    assert entry.logprob == pytest.approx(expected[token], abs=1e-4)
    assert [other.id for other in entry.top] == np.argsort(-logits)[:3].tolist()
    assert [other.logprob for other in entry.top] == pytest.approx(sorted(expected)[:-4:-1], abs=1e-4)
    assert token != best


def test_closing_twice_is_harmless(make: MakeSampler) -> None:
    sampler = make(Draw())
    sampler.close()
    sampler.close()
