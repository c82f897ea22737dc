"""Trees as arrays: every tree becomes one row of tokens, rows of equal length become a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backends.demo.corpus import Corpus
from backends.demo.tokenizer import CONTROL, MARKERS, Vocabulary
from backends.demo.trees import Branch, Tree, choices

PROMPT_WEIGHT = 0.1
FIRST_WEIGHT, FORK_WEIGHT, CITATION_WEIGHT = 6.0, 4.0, 3.0
"""The first token of an answer and of every sentence in it chooses the sentence, a token where sentences part that
began alike chooses between them, the marker the source, and what follows it whether to go on: they weigh more than
copied tokens."""
CUT_SHARE, CUT = 0.5, 8
"""This share of answers ends, for training, after so many tokens: which sentence is decided, the rest is copying."""
UNCUT = ("long", "two")
"""Kinds whose answers are never cut: what they get wrong comes late."""
LENGTHS = (384, 512, 768, 1024)


@dataclass
class Row:
    """One tree. `weights[i]` is the weight of predicting `targets[i]` at position i; `branch[i]` 0 is the prefix."""

    tokens: list[int]
    positions: list[int]
    branch: list[int]
    targets: list[int]
    weights: list[float]
    kinds: list[str]


@dataclass
class Batch:
    """Tensors of shape (rows, length), `branches` -1 where nothing is; `kinds` of each row's branches."""

    tokens: Tensor
    positions: Tensor
    branches: Tensor
    targets: Tensor
    weights: Tensor
    kinds: list[list[str]]

    @property
    def size(self) -> int:
        return int(self.tokens.numel())

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.tokens.to(device),
            self.positions.to(device),
            self.branches.to(device),
            self.targets.to(device),
            self.weights.to(device),
            self.kinds,
        )


class Packer:
    """Draws trees from a corpus and lays them out."""

    def __init__(self, vocabulary: Vocabulary, corpus: Corpus, *, cut: bool = False) -> None:
        self.vocabulary = vocabulary
        self.cut = cut
        self.corpus = corpus
        self._citations = {i for i, text in enumerate(CONTROL + MARKERS) if text in MARKERS and text[1] != "/"}

    def _answer(self, text: str, phrases: Sequence[str] = ()) -> tuple[list[int], list[float]]:
        """The ids of an answer made of some of `phrases`, and what each weighs."""
        encoded, spans = self.vocabulary.spans(text)
        begins, forks = choices(text, phrases)
        ids = [*encoded, self.vocabulary.end]
        weights = [CITATION_WEIGHT if i in self._citations else 1.0 for i in ids]
        for i, (begin, end) in enumerate(spans):
            if ids[i] in self._citations:
                weights[i + 1] = max(weights[i + 1], CITATION_WEIGHT)
            if any(at in begins for at in range(begin, end)):
                weights[i] = FIRST_WEIGHT
            elif any(at in forks for at in range(begin, end)):
                weights[i] = FORK_WEIGHT
        weights[0] = FIRST_WEIGHT
        return ids, weights

    def prefix(self, tree: Tree) -> tuple[list[int], list[float], int]:
        """Ids and weights of all that the branches share, and where the newest turn begins."""
        v = self.vocabulary
        ids = v.turn("system", tree.system) if tree.system is not None else []
        weights = [PROMPT_WEIGHT] * len(ids)
        for user, assistant in tree.history:
            asked = v.turn("user", user) + v.opening("assistant")
            answer, answer_weights = self._answer(assistant)
            ids += asked + answer + v.newline
            weights += [PROMPT_WEIGHT] * len(asked) + answer_weights + [0.0] * len(v.newline)
        newest = len(ids)
        ids += v.opening("user")
        if tree.passages:
            ids += v.encode("Sources:\n" + "\n".join(tree.sources()) + "\n\nQuestion:")
        weights += [PROMPT_WEIGHT] * (len(ids) - len(weights))
        return ids, weights, newest

    def branch(self, tree: Tree, branch: Branch) -> tuple[list[int], list[float]]:
        """Ids and weights of a question and its answer."""
        v = self.vocabulary
        asked = v.encode(f" {branch.question}" if tree.passages else branch.question)
        asked += [v.end, *v.newline, *v.opening("assistant")]
        phrases = [said for p in tree.passages for said in (p.heading, *(sentence for _, sentence in p.facts))]
        answer, weights = self._answer(branch.answer, phrases)
        if self.cut and branch.kind not in UNCUT and self.corpus.rng.random() < CUT_SHARE:
            answer, weights = answer[:CUT], weights[:CUT]
        return asked + answer, [0.0] * len(asked) + weights

    def row(self, tree: Tree, length: int) -> Row | None:
        """Lay out `tree` in at most `length` tokens; None when not even two of its branches fit."""
        ids, weights, newest = self.prefix(tree)
        start = len(ids)
        rng = self.corpus.rng
        gap = rng.randrange(3000) if tree.history and rng.random() < 0.3 else 0
        positions = [i + (gap if i >= newest else 0) for i in range(start)]
        row = Row(list(ids), positions, [0] * start, [*ids[1:], 0], [*weights[1:], 0.0], [])
        for branch in tree.branches:
            tokens, branch_weights = self.branch(tree, branch)
            if len(row.tokens) + len(tokens) > length:
                continue
            row.kinds.append(branch.kind)
            row.tokens += tokens
            row.positions += range(start + gap, start + gap + len(tokens))
            row.branch += [len(row.kinds)] * len(tokens)
            row.targets += [*tokens[1:], 0]
            row.weights += [*branch_weights[1:], 0.0]
        return row if len(row.kinds) >= 2 else None

    def place(self, tree: Tree) -> tuple[int, Row] | None:
        """The shortest length that holds most branches of `tree`, and its row."""
        for length in LENGTHS:
            row = self.row(tree, length)
            if row is not None and (len(row.kinds) >= 0.6 * len(tree.branches) or length == LENGTHS[-1]):
                return length, row
        return None

    def batches(self, tokens: int) -> Iterator[Batch]:
        """Batches of about `tokens` tokens, each of rows of one length, without end."""
        waiting: dict[int, list[Row]] = {length: [] for length in LENGTHS}
        while True:
            placed = self.place(self.corpus.tree(12))
            if placed is None:
                continue
            length, row = placed
            waiting[length].append(row)
            if len(waiting[length]) * length >= tokens:
                yield collate(waiting[length], length)
                waiting[length] = []


def collate(rows: list[Row], length: int) -> Batch:
    """One batch of `rows`, each filled up to `length`."""

    def fill(name: str, padding: float, dtype: type) -> Tensor:
        out: npt.NDArray[Any] = np.full((len(rows), length), padding, dtype=dtype)
        for i, row in enumerate(rows):
            values = getattr(row, name)
            out[i, : len(values)] = values
        return torch.from_numpy(out)

    return Batch(
        fill("tokens", 0, np.int64),
        fill("positions", 0, np.int64),
        fill("branch", -1, np.int64),
        fill("targets", 0, np.int64),
        fill("weights", 0.0, np.float32),
        [row.kinds for row in rows],
    )
