"""Passages by what they mean: vectors in the index, and both ways of finding fused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from backends.demo import DOCUMENTS, WORD_VECTORS
from backends.providers.rag import sample_model
from backends.rag.index import Changes, Index, Progress
from backends.rag.meaning import EVERYDAY, EmbeddingModel, Meaning, alike, fuse
from backends.rag.query import Query, build_query
from backends.rag.rerank import rerank
from backends.rag.retrieve import search
from backends.rag.word_vectors import WordVectors, letter_groups

TOPICS = (
    ("subscription", "pause", "rest"),
    ("seat", "team", "chair"),
    ("refund", "card", "reimbursement"),
    ("invoice",),
)


class ByTopic:
    """Three numbers: how often a text speaks of each topic."""

    def __init__(self, embedded: list[str]) -> None:
        self.embedded = embedded

    def embed(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        self.embedded += texts
        rows = np.array([[sum(text.lower().count(w) for w in topic) for topic in TOPICS] for text in texts], np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def close(self) -> None:
        self.embedded.append("closed")


@pytest.fixture
def embedded() -> list[str]:
    return []


@pytest.fixture
def index(folder: Path, tmp_path: Path, embedded: list[str]) -> Iterator[Index]:
    model = EmbeddingModel("topics", lambda: ByTopic(embedded), 0.5, "Q: ", "P: ")
    index = Index([folder], tmp_path / "index.sqlite3", model)
    yield index
    index.close()


def test_a_question_without_a_word_of_the_passage_finds_it(index: Index) -> None:
    index.refresh()
    found = search(index, build_query(["How many chairs?"]), 5)
    (best, *_) = rerank(found.hits, found.terms)
    assert best.hit.title == "Plans > Team plans"
    assert best.hit.similarity > 0.5
    assert best.coverage == 0.0
    assert search(index, build_query(["xylophone"]), 5).hits == ()


def test_only_new_passages_are_embedded_and_their_vectors_are_kept(
    index: Index, folder: Path, tmp_path: Path, embedded: list[str]
) -> None:
    told: list[Progress] = []
    index.refresh(told.append)
    assert len(embedded) == 4
    assert all(text.startswith("P: ") for text in embedded)
    assert told[-1] == Progress("passages", 4, 4)
    embedded.clear()
    (folder / "tax.md").write_text("# Tax\n\nVAT on every chair.")
    assert index.refresh() == Changes(added=1)
    assert [text.removeprefix("P: ") for text in embedded] == ["Tax: VAT on every chair."]
    assert {hit.source for hit in index.hits(list(index.nearest(Query("chair"), 9)))} == {"plans.md", "tax.md"}
    (folder / "tax.md").unlink()
    index.refresh()
    assert {hit.source for hit in index.hits(list(index.nearest(Query("chair"), 9)))} == {"plans.md"}
    index.close()
    assert embedded[-1] == "closed"
    again = Index([folder], tmp_path / "index.sqlite3", EmbeddingModel("topics", lambda: ByTopic(embedded), 0.5))
    embedded.clear()
    assert again.refresh() == Changes()
    assert embedded == []
    again.close()


def test_another_model_has_vectors_of_its_own(index: Index, folder: Path, tmp_path: Path, embedded: list[str]) -> None:
    index.refresh()
    other = Index([folder], tmp_path / "index.sqlite3", EmbeddingModel("others", lambda: ByTopic(embedded), 0.5))
    assert other.nearest(Query("chair"), 9) == {}
    other.refresh()
    assert other.nearest(Query("chair"), 9) == index.nearest(Query("chair"), 9)
    other.close()


def test_a_follow_up_means_what_was_asked_before_too(embedded: list[str]) -> None:
    meaning = Meaning(EmbeddingModel("topics", lambda: ByTopic(embedded)))
    alone, following = Query("and the team?"), Query("and the team?", earlier=("my refund",))
    assert meaning.of_query(alone) @ meaning.of_query(following) == pytest.approx(1 / np.hypot(1, 0.4), abs=1e-5)
    assert meaning.of_query(Query("nothing")) == pytest.approx(np.zeros(4))


def test_similarity_is_what_lies_above_the_floor() -> None:
    assert [alike(cosine, 0.6) for cosine in (-1.0, 0.6, 0.8, 1.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0])


def test_a_floor_that_nobody_names_is_as_near_as_everyday_questions_come(embedded: list[str]) -> None:
    named, measured = (Meaning(EmbeddingModel("topics", lambda: ByTopic(embedded), floor)) for floor in (0.3, None))
    passages = measured.of_passages(["the seat of a team", "a refund"])
    assert (named.floor(passages), measured.floor(passages)) == (0.3, 0.0)


def test_documents_that_answer_everyday_questions_are_still_told_apart() -> None:
    meaning = Meaning(EmbeddingModel("words", lambda: WordVectors(WORD_VECTORS)))
    assert meaning.floor(meaning.of_passages(EVERYDAY)) == 0.95


def test_without_a_floor_small_talk_finds_nothing(folder: Path) -> None:
    """The samples' word vectors, whose floor is known: what is measured tells the same questions from the others."""
    model = sample_model()
    index = Index([DOCUMENTS], model=EmbeddingModel(model.name, model.open))
    index.refresh()
    for question in ("What is the capital of France?", "Will it snow tomorrow?"):
        assert max(index.nearest(Query(question), 3).values(), default=0.0) < 0.25
    assert max(index.nearest(Query("can i freeze my yearly subscription"), 3).values()) > 0.5
    index.close()


def test_fusion_favours_what_both_found() -> None:
    assert fuse(["abc", "cd"]) == ["c", "a", "b", "d"]
    assert fuse(["ab", "ba"]) == ["a", "b"]
    assert fuse([[], "ab"]) == ["a", "b"]


def test_word_vectors_know_forms_and_forgive_misspellings() -> None:
    model = WordVectors(WORD_VECTORS)
    refund, form, typo, empty = model.embed(["refund", "refunded", "refundd", "... "])
    assert refund @ form == pytest.approx(1.0, abs=1e-3)
    assert refund @ typo > 0.3
    assert np.linalg.norm(refund) == pytest.approx(1.0, abs=1e-3)
    assert not empty.any()
    assert model.embed([]).shape == (0, len(refund))


def test_letter_groups_are_the_same_in_every_process() -> None:
    assert letter_groups("pause", 8192) == letter_groups("pause", 8192) != letter_groups("cause", 8192)
    assert all(0 <= group < 10 for group in letter_groups("x", 10))


@pytest.mark.parametrize(
    ("question", "section"),
    [
        ("is there a hotline", "Invoices > Billing support"),
        ("I told everybody I know about you. Do I get something for it?", "Trials and discounts > Referral credit"),
        ("Somebody hit the exit button by accident. Can that be reversed?", "Pausing and cancelling > Coming back"),
    ],
)
def test_the_samples_are_found_by_meaning(question: str, section: str) -> None:
    index = Index([DOCUMENTS], model=sample_model())
    index.refresh()
    found = search(index, build_query([question]), 24)
    assert section in [ranked.hit.title for ranked in rerank(found.hits, found.terms)[:3]]
    index.close()
