"""The draw: fair for every candidate, the same whoever is asked, and alike for distributions that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from backends.engine.dice import race

IDS = np.arange(10, 20, dtype=np.int32)
WEIGHTS = np.array([30, 20, 15, 10, 8, 7, 5, 3, 2, 0], np.float32)
DRAWS = 20_000


def chi_square(drawn: np.ndarray, p: np.ndarray) -> float:
    """Of the tokens `drawn` against probabilities `p` by place in IDS, those above 0."""
    seen = np.array([(drawn == token).sum() for token in IDS])
    assert not seen[p == 0].any()
    expected = drawn.size * p[p > 0]
    return float(((seen[p > 0] - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("by", ["place", "seed"])
def test_every_candidate_wins_with_its_probability(by: str) -> None:
    """Over the places of one answer and over the seeds at one place. 8 degrees of freedom: 26.1 is 1 in 1,000."""
    drawn = np.array(
        [race(IDS, WEIGHTS, 7 if by == "place" else at, at if by == "place" else 7) for at in range(DRAWS)]
    )
    p = WEIGHTS / WEIGHTS.sum()
    assert chi_square(drawn, p) < 26.1
    assert chi_square(drawn, np.sqrt(p) / np.sqrt(p).sum()) > 1_000, "the test could not tell a wrong one"


def test_neighbouring_places_are_independent() -> None:
    drawn = np.array([race(IDS, WEIGHTS, 3, at) for at in range(DRAWS)])
    p = WEIGHTS / WEIGHTS.sum()
    after = drawn[1:][drawn[:-1] == IDS[0]]
    assert chi_square(after, p) < 26.1


def test_neither_order_nor_scale_nor_company_changes_the_draw() -> None:
    for place in range(200):
        first = race(IDS, WEIGHTS, 5, place)
        assert race(IDS[::-1], WEIGHTS[::-1] * 17, 5, place) == first
        left = np.delete(np.arange(IDS.size), int(first == IDS[0]))
        assert race(IDS[left], WEIGHTS[left], 5, place) == first


def test_alike_distributions_mostly_draw_alike() -> None:
    """Agreement at total variation d is at least (1 - d) / (1 + d), and far above that of independent draws."""
    rng = np.random.default_rng(1)
    other = WEIGHTS * np.exp(0.25 * rng.standard_normal(WEIGHTS.size)).astype(np.float32)
    p, q = WEIGHTS / WEIGHTS.sum(), other / other.sum()
    distance = float(np.abs(p - q).sum() / 2)
    agreed = np.mean([race(IDS, WEIGHTS, 9, at) == race(IDS, other, 9, at) for at in range(4_000)])
    assert distance > 0.04
    assert agreed > (1 - distance) / (1 + distance) - 0.02
    assert agreed > 2 * float((p * q).sum())
