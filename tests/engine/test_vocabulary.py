"""Which draft vocabularies are refused, and in which words."""

from __future__ import annotations

import re

import pytest

from backends.engine.vocabulary import MAX_SIZE_DIFFERENCE, Vocabulary, difference

TEXTS = [f"t{index}".encode() for index in range(300)]
TARGET = Vocabulary(2, None, 4, TEXTS)


def test_the_same_vocabulary_is_fine() -> None:
    assert difference(TARGET, TARGET) is None


def test_padding_and_the_first_specials_may_differ() -> None:
    assert difference(TARGET, TARGET._replace(texts=TEXTS[:-MAX_SIZE_DIFFERENCE])) is None
    assert difference(TARGET, TARGET._replace(texts=[b"<unk>", *TEXTS[1:]])) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": 1}, r"different types \(2 and 1; 300 tokens in the model, 300 in the draft\)"),
        ({"bos": 1}, r"BOS tokens .* differ \(none and 1\)"),
        ({"eos": 3}, r"EOS tokens .* differ \(4 and 3\)"),
        ({"texts": TEXTS[:150]}, r"differ in size: 300 tokens in the model, 150 in the draft"),
        (
            {"texts": [*TEXTS[:7], b"x", *TEXTS[8:20], b"y", *TEXTS[21:]]},
            r"2 of 300 .* is 7: 't7' .*, 'x' in the draft",
        ),
    ],
)
def test_what_differs_is_said(change: dict[str, object], words: str) -> None:
    assert re.search(words, difference(TARGET, TARGET._replace(**change)) or "")
