"""Remembered tokens are those of the text, as it is asked for, and never take more than their limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.token_cache import ENTRY_BYTES, TokenCache

TEXTS = ("", "a", "the plan", "the plan ", "é\U0001f600")


def counting() -> tuple[Callable[[str, bool, bool], list[int]], list[str]]:
    """A tokenizer of code points, in which everything that is asked for matters, and the texts that it was given."""
    given_texts: list[str] = []

    def tokenize(text: str, special: bool, inner: bool) -> list[int]:
        given_texts.append(text)
        return [int(special), int(inner), *map(ord, text)]

    return tokenize, given_texts


@given(st.lists(st.tuples(st.sampled_from(TEXTS), st.booleans(), st.booleans())), st.integers(0, 4_000))
def test_the_result_is_the_tokenizers_and_the_limit_holds(asked: list[tuple[str, bool, bool]], limit: int) -> None:
    tokenize, _ = counting()
    cache = TokenCache(tokenize, limit)
    for each in asked:
        tokens = cache(*each)
        assert tokens == tokenize(*each)
        tokens.append(-1)  # it is the caller's own
        assert cache.bytes <= limit


def test_the_least_recently_used_text_is_forgotten() -> None:
    tokenize, asked = counting()
    cache = TokenCache(tokenize, 2 * ENTRY_BYTES + 100)
    for text in ("one", "two", "one", "three", "one", "two"):
        cache(text, False)
    assert asked == ["one", "two", "three", "two"]


def test_a_text_of_one_partition_is_not_known_in_another() -> None:
    tokenize, asked = counting()
    cache = TokenCache(tokenize)
    for partition in ("", "a", "b", "a"):
        assert cache("the plan", False, partition=partition) == tokenize("the plan", False, False)
        asked.pop()  # that of the comparison
    assert asked == ["the plan"] * 3


def test_a_failure_is_not_remembered() -> None:
    failures = iter([ValueError("closing")])

    def tokenize(text: str, special: bool, inner: bool) -> list[int]:
        for failure in failures:
            raise failure
        return [1]

    cache = TokenCache(tokenize)
    with pytest.raises(ValueError, match="closing"):
        cache("a", False)
    assert cache("a", False) == [1]
