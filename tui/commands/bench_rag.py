"""`llmchat bench rag`: how well retrieval finds the passages that are known to answer."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backends.bench.rag import Answer, Question, Scores, ask, read_questions, sample_sets, score, table
from backends.bench.retrieval import Opened
from backends.errors import BackendError, Code
from backends.providers import rag
from backends.rag.options import Embedding
from tui.exit_codes import ExitCode


class RagRequest(msgspec.Struct, frozen=True):
    """The options of `llmchat bench rag`, as given."""

    documents: Path | None
    questions: Path | None
    top_k: int
    misses: str
    embedding: Path | None
    json: Path | None


def measure(asked: RagRequest) -> ExitCode:
    """Measure, and print the table. Raises BackendError for wrong usage and unreadable documents."""
    if (asked.documents is None) != (asked.questions is None):
        raise BackendError(Code.CONFIG, "--docs and --questions belong together: the questions name its sections")
    sets = sample_sets() if asked.questions is None else {asked.questions.stem: read_questions(asked.questions)}
    if asked.misses and asked.misses not in sets:
        raise BackendError(Code.CONFIG, f"--misses {asked.misses}: one of {', '.join(sets)}")
    rows: list[tuple[str, str, Scores]] = []
    record: dict[str, dict[str, Scores]] = {}
    model = rag.gguf_model(Embedding(str(asked.embedding or "")))
    if model is None and asked.documents is None:
        model = rag.sample_model()
    with Opened(asked.documents, asked.top_k, model) as opened:
        for name, questions in sets.items():
            for way in opened.ways:
                answers = ask(opened.way(way), questions, opened.count_tokens)
                rows.append((name, way, score(answers)))
                record.setdefault(name, {})[way] = rows[-1][2]
            if name == asked.misses:
                _show_misses(questions, answers, asked.top_k)
        duplicates = opened.duplicates()
    print(f"{table(rows)}\n\n{duplicates}")
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.encode(record))
    return ExitCode.COMPLETE


def _show_misses(questions: list[Question], answers: list[Answer], top_k: int) -> None:
    for question, answer in zip(questions, answers, strict=True):
        if not 0 < answer.rank <= top_k:
            place = f"rank {answer.rank}" if answer.rank else "not found"
            print(f"{question.questions[-1]}\n    {question.section}: {place}")
    print()
