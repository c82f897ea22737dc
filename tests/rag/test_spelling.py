"""What a misspelled word may have been meant to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.rag.spelling import distance, meant

WORDS = ["card", "charge", "charged", "invoice", "invoices", "refund", "subscription", "friend", "find", "twice", "tax"]


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("crad", ["card"]),
        ("refnud", ["refund"]),
        ("tiwce", ["twice"]),
        ("invocie", ["invoice"]),
        ("invo", ["invoice", "invoices"]),
        ("subscrpton", ["subscription"]),
        ("freind", ["friend"]),
        ("cark", []),  # of four letters only swapped ones are believed
        ("tex", []),
        ("frond", []),
        ("zebra", []),
    ],
)
def test_the_nearest_words_are_meant(word: str, right: list[str]) -> None:
    assert meant(word, WORDS) == right


def test_a_swap_counts_one() -> None:
    assert distance("ab", "ba", 5) == 1
    assert distance("", "abc", 5) == 3
    assert distance("kitten", "sitting", 5) == 3
    assert distance("kitten", "sitting", 2) > 2


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_distance_is_symmetric_and_its_bound_changes_nothing_below_it(one: str, other: str) -> None:
    exact = distance(one, other, 20)
    assert exact == distance(other, one, 20)
    assert (exact == 0) == (one == other)
    for most in range(4):
        assert min(distance(one, other, most), most + 1) == min(exact, most + 1)
