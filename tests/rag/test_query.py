"""What is looked for: words, and what a question takes from the one before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.rag.query import EARLIER_WEIGHT, MAX_TERMS, Term, build_query
from backends.rag.words import content_words, key, words


def terms(*questions: str) -> dict[str, float]:
    return {term.word: term.weight for term in build_query(questions).terms}


@pytest.mark.parametrize(
    "question",
    [
        "hello",
        "Hi there!",
        "thanks!",
        "Thank you, that helped.",
        "who are you?",
        "What can you do?",
        "How can you help me?",
        "ok",
        "",
        "?!",
        "2+2",
    ],
)
def test_politeness_and_small_talk_ask_for_nothing(question: str) -> None:
    assert terms(question) == {}
    assert terms("How do I pause my subscription?", question) == {}


def test_a_question_is_its_content_words_once() -> None:
    assert terms("Can I pause my annual subscription? The ANNUAL one!") == {"pause": 1, "annual": 1, "subscription": 1}


def test_a_leaning_question_takes_terms_of_the_one_before_at_a_lower_weight() -> None:
    assert terms("How do I pause my subscription?", "And for teams?") == {
        "teams": 1.0,
        "pause": EARLIER_WEIGHT,
        "subscription": EARLIER_WEIGHT,
    }
    assert terms("What does the Team plan cost?", "What about Basic?") == {
        "basic": 1.0,
        "team": EARLIER_WEIGHT,
        "plan": EARLIER_WEIGHT,
        "cost": EARLIER_WEIGHT,
    }


def test_leaning_goes_on_back_ever_lighter() -> None:
    assert terms("Pause a subscription", "and for teams?", "how long does it take?") == {
        "teams": EARLIER_WEIGHT,
        "pause": EARLIER_WEIGHT**2,
        "subscription": EARLIER_WEIGHT**2,
    }


def test_a_question_that_stands_alone_takes_nothing() -> None:
    assert terms("How do I pause my subscription?", "Where are invoices sent?") == {"invoices": 1.0, "sent": 1.0}
    assert terms("How do I pause?", "Is that invoice for the second quarter wrong?").keys() == {
        "invoice",
        "second",
        "quarter",
        "wrong",
    }


def test_no_question_is_no_query() -> None:
    assert build_query([]).terms == ()


def test_the_number_of_terms_is_bounded_and_the_question_itself_comes_first() -> None:
    many = " ".join(f"word{i}" for i in range(100))
    query = build_query([many, "and for teams?"])
    assert len(query.terms) == MAX_TERMS
    assert query.terms[0] == Term("teams", 1.0)


def test_words_fold_case_accents_and_punctuation() -> None:
    assert words("Où est l'ABONNEMENT_annuel?") == ["ou", "est", "l", "abonnement", "annuel"]


def test_forms_of_one_word_are_one_term() -> None:
    assert terms("refund refunds refunded, refunding") == {"refund": 1.0}


def test_how_much_asks_for_a_price() -> None:
    assert terms("How much is Solo?") == {"solo": 1.0, "price": 0.5}
    assert terms("How much does Solo cost?", "and Crew?").keys() == {"crew", "solo", "cost", "price"}


@pytest.mark.parametrize(
    "forms",
    [
        ("cancel", "cancels", "cancelled", "canceled", "cancelling", "cancellation", "cancellations"),
        ("invoice", "invoices", "invoiced", "invoicing"),
        ("pay", "pays", "paying", "payment", "payments"),
        ("user", "users"),
        ("company", "companies"),
        ("fee", "fees"),
        ("bill", "bills", "billing", "billed"),
        ("yearly", "year", "years"),
        ("exempt", "exemption", "exemptions"),
        ("delete", "deleted", "deletion"),
    ],
)
def test_forms_of_a_word_have_one_key(forms: tuple[str, ...]) -> None:
    assert len({key(form) for form in forms}) == 1


def test_keys_do_not_merge_what_is_different() -> None:
    different = ("plan", "pay", "price", "pause", "team", "tax", "invoice", "refund", "user", "use", "2024", "2025")
    assert len({key(word) for word in different}) == len(different)


@given(st.text(max_size=200))
def test_any_text_gives_plain_words(text: str) -> None:
    for word in words(text):
        assert word.isalnum()
        assert key(word)
    assert set(content_words(text)) <= set(words(text))
