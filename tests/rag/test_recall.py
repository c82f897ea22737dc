"""Recall over the sample documents: do their own sections come up for a customer's questions?"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from backends.demo import DOCUMENTS
from backends.demo.handbook import World, choose, fill, handbook
from backends.rag.index import Index
from backends.rag.query import build_query
from backends.rag.rerank import rerank
from backends.rag.retrieve import search


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    index = Index([DOCUMENTS])
    index.refresh()
    yield index
    index.close()


def sections(index: Index, *questions: str) -> list[str]:
    """The titles of the three best passages."""
    found = search(index, build_query(questions), 24)
    return [ranked.hit.title for ranked in rerank(found.hits, found.terms)[:3]]


QUESTIONS = [
    (("Can I pause my annual subscription?",), "Pausing and cancelling > Pausing an annual plan"),
    (("How much is the Crew plan each month?",), "Plans and prices > Monthly prices"),
    (("until when can i get my money back for a yearly plan",), "Refunds > Refund window"),
    (("Do you take PayPal?",), "Payment methods > Accepted payment methods"),
    (("Where's the PDF of my invoice?",), "Invoices > Finding and downloading invoices"),
    (("we are a nonprofit, is it cheaper for us?",), "Trials and discounts > Nonprofit and education discount"),
    (("How many guests may join a workspace?",), "Teams and seats > Guests"),
    (("Our VAT ID is missing, where does it go?",), "Taxes > VAT numbers"),
    (("can the trial be made longer, it ends tomorrow",), "Trials and discounts > Free trial"),
    (("What does an extra seat cost?",), "Teams and seats > Adding seats"),
    (("how do i cancle my subscripton",), "Pausing and cancelling > Cancelling a subscription"),
    (("I have been charged twice!",), "Refunds > Duplicate and wrong charges"),
    (("How much storage has Studio?",), "Plans and prices > What each plan includes"),
    (("Can I pause my annual subscription?", "and a monthly one?"), "Pausing and cancelling > Pausing a monthly plan"),
    (("How much is the Crew plan each month?", "And Studio?"), "Plans and prices > Monthly prices"),
    (("Can coupons be combined?", "And when do they expire?"), "Trials and discounts > Coupon codes"),
]


@pytest.mark.parametrize(("questions", "section"), QUESTIONS)
def test_the_right_section_is_among_the_first_three(index: Index, questions: tuple[str, ...], section: str) -> None:
    assert section in sections(index, *questions)


def test_the_right_section_is_mostly_the_first(index: Index) -> None:
    ranks = [sections(index, *questions).index(section) + 1 for questions, section in QUESTIONS]
    assert sum(1 / rank for rank in ranks) / len(ranks) >= 0.85


def test_the_right_section_comes_up_for_wordings_of_every_kind(index: Index) -> None:
    """The demo model's training wordings: stories, keywords, words that no document has."""
    rng = Random(5)
    facts = [(d, s, f) for d in handbook() for s in d.sections for f in s.facts if f.questions]
    right = 0
    for _ in range(300):
        document, section, fact = rng.choice(facts)
        question = fill(choose(rng.choice(fact.questions), rng), World.sample(), rng, fact.plan)
        right += f"{document.titles[0]} > {section.headings[0]}" in sections(index, question)
    assert right / 300 >= 0.75


@pytest.mark.parametrize(
    "question",
    ["Hello!", "thanks a lot", "who are you?", "What can you do?", "What is the capital of France?", "Tell me a joke."],
)
def test_what_no_document_is_about_brings_none(index: Index, question: str) -> None:
    assert sections(index, question) == []
