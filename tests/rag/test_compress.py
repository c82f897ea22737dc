"""Passages shortened to what the question is about."""

from __future__ import annotations

from backends.rag.compress import compress
from backends.rag.store import Hit
from backends.rag.words import key

TEXT = (
    "Plans are paid monthly. Refunds take 14 days. They go to the card. Support is free. Guests may look. Taxes apply."
)


def hit(text: str) -> Hit:
    return Hit("a.md", 0, "T", text, "T", 1.0)


def test_sentences_of_the_question_and_the_ones_after_them_stay() -> None:
    term = {key("refund"): 1.0, key("guests"): 0.6}
    shorter = compress(hit(TEXT), [term])
    assert shorter.text == "Refunds take 14 days. They go to the card. Guests may look. Taxes apply."
    assert compress(hit(shorter.text), [term]) == shorter


def test_what_is_short_or_was_found_by_meaning_stays_whole() -> None:
    short = hit("Plans are paid monthly. Refunds take 14 days. Guests may look.")
    assert compress(short, [{key("guests"): 1.0}]) == short
    assert compress(hit(TEXT), [{"zebra": 1.0}]) == hit(TEXT)
    assert compress(hit(TEXT), []) == hit(TEXT)
