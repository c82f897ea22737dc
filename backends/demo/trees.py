"""What the generator draws: a `Tree` is one context with several questions, each its own continuation of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from backends.demo.handbook import Fact
from backends.rag.prompt import render_source, render_user_turn


@dataclass(frozen=True)
class Passage:
    """One retrieved section: where it comes from, and each fact with the sentence that states it."""

    section: str
    document: str
    heading: str
    title: str
    facts: tuple[tuple[Fact, str], ...]

    @property
    def text(self) -> str:
        return " ".join(sentence for _, sentence in self.facts)

    @property
    def askable(self) -> list[tuple[Fact, str]]:
        """The facts that some question asks for; the others only fill the page."""
        return [(fact, sentence) for fact, sentence in self.facts if fact.questions]


@dataclass(frozen=True)
class Branch:
    """A question, the answer to give, and what an evaluation needs to judge another one."""

    kind: str
    question: str
    answer: str
    sentences: tuple[str, ...] = ()
    cites: tuple[int, ...] = ()


@dataclass
class Tree:
    """A conversation so far, the passages of its newest turn (maybe none), and questions that may come now."""

    system: str | None
    history: list[tuple[str, str]] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)

    def sources(self) -> list[str]:
        return [render_source(f"S{i}", p.title, p.text) for i, p in enumerate(self.passages, 1)]

    def messages(self, branch: Branch) -> list[dict[str, str]]:
        """The chat that `branch` ends, as the product sends it."""
        turns = [{"role": "system", "content": self.system}] if self.system is not None else []
        for user, assistant in self.history:
            turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        return [*turns, {"role": "user", "content": render_user_turn(self.sources(), branch.question)}]


def choices(answer: str, phrases: Sequence[str]) -> tuple[set[int], set[int]]:
    """Where in `answer` something is chosen, in characters: where one of `phrases` begins, and where another one that
    began like it goes on differently. Whoever copies has nothing to choose anywhere else."""
    begins: set[int] = set()
    forks: set[int] = set()
    for phrase in phrases:
        at = answer.find(phrase)
        while at >= 0:
            begins.add(at)
            for other in phrases:
                shared = next((i for i, pair in enumerate(zip(phrase, other, strict=False)) if pair[0] != pair[1]), 0)
                if shared:
                    forks.add(at + shared)
            at = answer.find(phrase, at + len(phrase))
    return begins, forks


def joined(first: str, second: str, rng: Random) -> str:
    """Two questions as one."""
    chance = rng.random()
    if chance < 0.2:
        return f"{first} {second[:1].upper()}{second[1:]}"
    if chance < 0.3:
        return rng.choice(
            ("Two questions: {} {}", "1) {} 2) {}", "First: {} Second: {}", "{} One more thing: {}")
        ).format(first, second)
    second = second[:1].lower() + second[1:] if not second.startswith("I ") else second
    if second.startswith("and "):
        return f"{first.rstrip('?.! ')}{rng.choice((', ', ' '))}{second}"
    link = rng.choice((" and ", " and ", ", and ", ", and ", ", ", " and also ", "; ", " plus ", "? Also, ", "? And "))
    return f"{first.rstrip('?.! ')}{link}{second}"


def listing(passage: Passage, number: int) -> str:
    """A passage as a Markdown heading and a numbered list, every item cited."""
    items = (f"{i}. {sentence} [S{number}]" for i, (_, sentence) in enumerate(passage.facts, 1))
    return "\n".join((f"**{passage.heading}**", "", *items))
