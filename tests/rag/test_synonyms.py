"""Other words: groups of equals work both ways, the words left of ``>`` only one way."""

from __future__ import annotations

from backends.rag.synonyms import synonyms
from backends.rag.words import key


def test_equals_stand_for_each_other() -> None:
    assert key("freeze") in synonyms(key("paused"))
    assert key("pause") in synonyms(key("freezing"))


def test_a_word_may_look_for_another_that_does_not_look_for_it() -> None:
    assert key("card") in synonyms(key("wallet"))
    assert key("wallet") not in synonyms(key("card"))


def test_no_word_stands_for_itself() -> None:
    for word in ("plan", "twice", "account", "break"):
        assert key(word) not in synonyms(key(word))


def test_unknown_words_have_none() -> None:
    assert synonyms("zebra") == ()
