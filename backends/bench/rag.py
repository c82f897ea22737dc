"""How well retrieval finds: recall@k and the mean reciprocal rank over questions whose passage is known.

Recall@k: the share of questions whose section is among the k best. MRR: the mean of 1/rank, 0 where it is not among the
candidates (Voorhees, "The TREC-8 Question Answering Track Report", 1999). Facts: the share whose expected words all
stand in the sources that the model would read.

The sample documents bring three sets: `practice`, to look at while retrieval is worked on; `hand-written`, only ever to
be measured; and wordings of the demo model's text that nothing was trained on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from backends.errors import BackendError, Code
from backends.events import Citation

HELD_OUT = 200
HELD_OUT_SEED = 424_243
"""As the evaluation of the demo model asks them."""
DEPTHS = (1, 3, 5)


class Question(msgspec.Struct, frozen=True):
    """The last of a conversation's `questions`; `section`: title of the passage, or file, that answers it; `expect`:
    words that the answer needs."""

    questions: tuple[str, ...]
    section: str
    expect: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What came for a question: rank of its section (0: not among the candidates), whether the sources have all that is
    expected (None: nothing is), tokens of the sources, milliseconds."""

    rank: int
    facts: bool | None
    tokens: int
    ms: float


class Scores(msgspec.Struct, frozen=True):
    """Of one set of questions."""

    questions: int
    recall: tuple[float, ...]
    mrr: float
    facts: float | None
    tokens: float
    ms_p50: float
    ms_p95: float


class Retrieved(msgspec.Struct, frozen=True):
    """The candidates' (source, title), best first, and the sources that a model would read."""

    ranking: tuple[tuple[str, str], ...]
    sources: tuple[Citation, ...]


Retrieve = Callable[[Sequence[str]], Retrieved]
"""From the user's messages of a conversation to what retrieval brings for the last of them."""


def score(answers: Sequence[Answer]) -> Scores:
    """The scores of one set."""
    from backends.telemetry.spread import percentile

    count = len(answers)
    judged = [answer.facts for answer in answers if answer.facts is not None]
    times = [answer.ms for answer in answers]
    return Scores(
        count,
        tuple(sum(0 < answer.rank <= depth for answer in answers) / count for depth in DEPTHS),
        sum(1 / answer.rank for answer in answers if answer.rank) / count,
        sum(judged) / len(judged) if judged else None,
        sum(answer.tokens for answer in answers) / count,
        percentile(times, 50),
        percentile(times, 95),
    )


def ask(retrieve: Retrieve, questions: Sequence[Question], count_tokens: Callable[[str], int]) -> list[Answer]:
    """Each of `questions`, timed."""
    answers = []
    for question in questions:
        began = time.perf_counter()
        found = retrieve(question.questions)
        ms = (time.perf_counter() - began) * 1000.0
        ranks = (rank for rank, place in enumerate(found.ranking, 1) if question.section in place)
        text = "\n".join(source.snippet for source in found.sources)
        facts = all(words in text for words in question.expect) if question.expect else None
        answers.append(Answer(next(ranks, 0), facts, count_tokens(text), ms))
    return answers


def read_questions(path: Path) -> list[Question]:
    """Questions from a JSON list of objects with "question", "section" (null: none answers it, left out) and, where
    wanted, "expect" (a list of strings) and "follows" (true: it goes on from the one before). Raises BackendError."""
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
        return _conversations(entries)
    except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
        message = f'{path}: no list of {{"question": ..., "section": ...}}: {error}'
        raise BackendError(Code.CONFIG, message) from error


def _conversations(entries: Sequence[dict[str, Any]]) -> list[Question]:
    questions: list[Question] = []
    asked: tuple[str, ...] = ()
    for entry in entries:
        asked = (*(asked if entry.get("follows") else ()), entry["question"])
        if entry["section"] is not None:
            expect = msgspec.convert(entry.get("expect", ()), tuple[str, ...])
            questions.append(Question(asked, entry["section"], expect))
    return questions


def sample_sets() -> dict[str, list[Question]]:
    """The sets on the sample documents."""
    from backends.demo.corpus import Corpus
    from backends.demo.handbook import HERE

    corpus = Corpus(HELD_OUT_SEED, held_out=True)
    drawn = [corpus.sample_question() for _ in range(HELD_OUT)]
    return {
        "practice": read_questions(HERE / "practice.json"),
        "hand-written": read_questions(HERE / "questions.json"),
        "held-out wordings": [
            Question((branch.question,), passage.title, branch.sentences) for passage, branch in drawn
        ],
    }


def table(rows: Sequence[tuple[str, str, Scores]]) -> str:
    """For people: a Markdown table of (set, way, scores)."""
    heads = ["questions", "retrieval", "n", *(f"recall@{depth}" for depth in DEPTHS), "MRR", "facts in the sources"]
    lines = ["| " + " | ".join([*heads, "tokens of sources", "ms P50", "ms P95"]) + " |"]
    lines.append("| --- | --- |" + " ---: |" * (len(heads) + 1))
    for name, way, found in rows:
        facts = "-" if found.facts is None else f"{found.facts:.1%}"
        shares = [f"{share:.1%}" for share in found.recall]
        cells = [name, way, str(found.questions), *shares, f"{found.mrr:.3f}", facts]
        lines.append(
            "| " + " | ".join([*cells, f"{found.tokens:.0f}", f"{found.ms_p50:.1f}", f"{found.ms_p95:.1f}"]) + " |"
        )
    return "\n".join(lines)
