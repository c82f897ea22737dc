"""Other ways to ask the same: every exchanged word is of the group of the one it replaces, forms keep what is asked."""

from __future__ import annotations

from random import Random

from backends.demo.handbook import HERE, is_held_out
from backends.demo.rephrasing import exchanged, keywords, recast
from backends.demo.typing_errors import careless


def groups() -> list[set[str]]:
    lines = (HERE / "same.txt").read_text("utf-8").splitlines()
    return [{part.strip() for part in line.split("|")} for line in lines if line and not line.startswith("#")]


def test_words_are_exchanged_within_their_group() -> None:
    allowed = set().union(*(group for group in groups() if "voucher" in group))
    said = {exchanged("voucher", Random(seed), share=1.0) for seed in range(100)}
    assert len(said) > 2
    assert said <= allowed


def test_nothing_is_exchanged_that_need_not_be() -> None:
    assert exchanged("How long is my voucher good?", Random(1), share=0.0) == "How long is my voucher good?"


def test_a_question_becomes_another_kind_of_sentence() -> None:
    said = {recast("How do I download an invoice?", Random(seed)) for seed in range(60)}
    assert len(said) > 5
    assert all("download an invoice" in text.lower() for text in said)


def test_keywords_are_what_carries_the_meaning() -> None:
    assert keywords("Where do I find the invoice?", Random(3)).endswith("find invoice")
    assert keywords("And then?", Random(1)) == "And then?"


def test_careless_text_still_says_something() -> None:
    assert all(len(careless("Can I pause my plan?", Random(seed)).split()) >= 2 for seed in range(300))


def test_people_write_as_it_sounds() -> None:
    said = {careless("where does the trial end", Random(seed)) for seed in range(600)}
    assert any("were " in text for text in said)
    assert any(" dose " in text for text in said)


def test_near_copies_of_hand_written_questions_are_held_out() -> None:
    assert is_held_out("can I pause my annual subscription")
    assert is_held_out("How deep is the ocean")
