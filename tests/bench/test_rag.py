"""The measures of retrieval, and what they are taken from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from backends.bench.rag import Answer, Question, Retrieved, ask, read_questions, sample_sets, score, table
from backends.errors import BackendError
from backends.events import Citation


def test_recall_and_reciprocal_rank_are_as_defined() -> None:
    answers = [Answer(rank, facts, 100, 1.0) for rank, facts in ((1, True), (2, True), (4, False), (0, None))]
    scores = score(answers)
    assert scores.recall == (0.25, 0.5, 0.75)
    assert scores.mrr == pytest.approx((1 + 1 / 2 + 1 / 4) / 4)
    assert scores.facts == pytest.approx(2 / 3)
    assert "| set | way | 4 | 25.0% | 50.0% | 75.0% | 0.438 | 66.7% |" in table([("set", "way", scores)])


def test_a_question_is_asked_in_its_conversation_and_found_by_title_or_file() -> None:
    asked: list[Sequence[str]] = []

    def retrieve(questions: Sequence[str]) -> Retrieved:
        asked.append(questions)
        source = Citation("a.md", "S1", "A > One", "One", "Nine euros a month.")
        return Retrieved((("b.md", "B"), ("a.md", "A > One")), (source,))

    questions = [
        Question(("before", "now"), "A > One", ("Nine", "month")),
        Question(("file",), "b.md", ("ten",)),
        Question(("neither",), "C"),
    ]
    answers = ask(retrieve, questions, len)
    assert asked == [question.questions for question in questions]
    assert [(answer.rank, answer.facts, answer.tokens) for answer in answers] == [
        (2, True, 19),
        (1, False, 19),
        (0, None, 19),
    ]


def test_questions_follow_the_ones_before_and_unanswerable_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(
        """[{"question": "a", "section": "A"}, {"question": "b", "section": null, "follows": true},
            {"question": "c", "section": "C", "follows": true, "expect": ["x"]}]"""
    )
    assert read_questions(path) == [Question(("a",), "A"), Question(("a", "b", "c"), "C", ("x",))]


@pytest.mark.parametrize("text", ["", "{}", '[{"question": "a"}]', '[{"question": "a", "section": "A", "expect": 3}]'])
def test_a_file_that_is_no_list_of_questions_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(BackendError, match=r"odd\.json: no list of"):
        read_questions(path)


def test_the_sets_on_the_sample_documents_are_the_same_every_time() -> None:
    sets = sample_sets()
    assert list(sets) == ["practice", "hand-written", "held-out wordings"]
    assert all(len(questions) >= 30 for questions in sets.values())
    assert sample_sets() == sets
