"""Retrieval from real documents: safe for any question, forgiving with spelling."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.rag.index import Changes, Index
from backends.rag.query import Query, Term, build_query
from backends.rag.retrieve import FolderRetriever, search
from backends.rag.words import key


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("documents")
    for name in ("refund", "invoice", "subscription", "discount"):
        (folder / f"{name}.md").write_text(f"# Notes\n\n## About the {name}\n\nThe {name} is explained here, once.\n")
    index = Index([folder])
    index.refresh()
    yield index
    index.close()


def sources(index: Index, *questions: str) -> list[str]:
    return [hit.source for hit in search(index, build_query(questions), 10).hits]


@pytest.mark.parametrize(
    ("question", "source"),
    [
        ("When do I get my refund?", "refund.md"),
        ("refnud please", "refund.md"),
        ("cancel my subscripton", "subscription.md"),
        ("invioce", "invoice.md"),
        ("discounts?", "discount.md"),
        ("Where is my bill?", "invoice.md"),
        ("subscr", "subscription.md"),
    ],
)
def test_questions_find_their_document(index: Index, question: str, source: str) -> None:
    assert sources(index, question) == [source]


@pytest.mark.parametrize("question", ["hello", "who are you?", "xylophone", ""])
def test_nothing_relevant_is_nothing(index: Index, question: str) -> None:
    assert sources(index, question) == []


def worth(index: Index, question: str) -> dict[str, float]:
    """What each word that is looked for is worth."""
    return {word: value for term in search(index, build_query([question]), 10).terms for word, value in term.items()}


def test_an_unknown_word_weighs_as_much_as_a_rare_one(index: Index) -> None:
    weights = worth(index, "the subscription of a xylophone")
    assert weights[key("subscription")] == weights[key("xylophone")] > 1


def test_guesses_and_synonyms_weigh_less_than_what_was_typed(index: Index) -> None:
    assert 0 < worth(index, "refnud")["refund"] < worth(index, "refund")["refund"]
    assert 0 < worth(index, "voucher bill")[key("invoice")] < worth(index, "invoice")[key("invoice")]


def test_a_word_that_only_its_synonyms_have_stands_for_them(index: Index) -> None:
    (term,) = search(index, build_query(["bill"]), 10).terms
    assert term.keys() == {key("invoice")}


hostile = st.text() | st.sampled_from(
    ['"', "'; DROP TABLE files; --", "NEAR(a b)", "a AND", "title:x", "^x", "x*", "(", "a OR OR b", "-x", "\0refund"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hostile, max_size=3))
def test_no_question_is_a_syntax_error(index: Index, questions: list[str]) -> None:
    search(index, build_query(questions), 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hostile, max_size=4))
def test_no_word_is_a_syntax_error(index: Index, words: list[str]) -> None:
    search(index, Query("", tuple(Term(word) for word in words)), 3)


async def test_the_folder_is_looked_at_again_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Refunds take days.")
    patient = FolderRetriever(Index([tmp_path]), refresh_seconds=3600)
    eager = FolderRetriever(Index([tmp_path]), refresh_seconds=0)
    query = build_query(["vouchers"])
    for retriever in (patient, eager):
        assert (await retriever.retrieve(query, 3)).hits == ()
    (tmp_path / "b.md").write_text("Vouchers never expire.")
    assert (await patient.retrieve(query, 3)).hits == ()
    assert [hit.source for hit in (await eager.retrieve(query, 3)).hits] == ["b.md"]
    for retriever in (patient, eager):
        await retriever.aclose()


async def test_a_long_refresh_holds_up_only_who_began_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("Refunds take days.")
    index = Index([tmp_path])
    retriever = FolderRetriever(index, refresh_seconds=0)
    query = build_query(["refunds"])
    await retriever.prepare()
    begun, go_on, real = threading.Event(), threading.Event(), index.refresh

    def slow() -> Changes:
        begun.set()
        assert go_on.wait(60)
        return real()

    monkeypatch.setattr(index, "refresh", slow)
    first = asyncio.create_task(retriever.retrieve(query, 3))
    assert await asyncio.to_thread(begun.wait, 60)
    async with asyncio.timeout(60):
        assert [hit.source for hit in (await retriever.retrieve(query, 3)).hits] == ["a.md"]
    assert not first.done()
    go_on.set()
    assert [hit.source for hit in (await first).hits] == ["a.md"]
    await retriever.aclose()
