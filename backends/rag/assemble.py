"""From ranked passages to what the model reads: the sources within a token budget, and the messages with them. Pure.

Nothing is cut in half: a passage is taken whole or not at all, most relevant first. What the model reads and what a
`Citation` carries are the same characters, so that an earlier turn can be rendered again verbatim (append-only prompts,
DESIGN.md "Prefix caching").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from backends.backend import Message
from backends.events import Citation
from backends.rag.prompt import SYSTEM, neutralize, render_source, render_user_turn
from backends.rag.store import Hit
from backends.rag.tokens import CountTokens, estimate_tokens
from backends.rag.words import words

DUPLICATE = 0.8
_SHINGLE = 3


def assemble(
    hits: Iterable[Hit], top_k: int, token_budget: int, count_tokens: CountTokens = estimate_tokens
) -> tuple[Citation, ...]:
    """The first `top_k` of `hits` that fit, as sources S1, S2, ...; near-duplicates of one already taken are dropped.

    `token_budget` bounds what the sources add to the turn, headings included, as `count_tokens` counts the whole block.
    A passage that no longer fits makes room for the next smaller one.
    """
    taken: list[Citation] = []
    read: list[Print] = []
    for hit in hits:
        if len(taken) >= top_k:
            break
        own = Print.of(hit.text)
        if any(own.repeats(other) for other in read):
            continue
        source = _citation(f"S{len(taken) + 1}", hit)
        if count_tokens(user_turn((*taken, source), "")) <= token_budget:
            taken.append(source)
            read.append(own)
    return tuple(taken)


def user_turn(sources: Sequence[Citation], question: str) -> str:
    """A user turn as the model reads it."""
    return render_user_turn([render_source(each.id, each.title, each.snippet) for each in sources], question)


def plain_messages(messages: Sequence[Message], *, rules: bool) -> tuple[Message, ...]:
    """`messages` as a model reads them: sources rendered into their user turns, none left beside the text.

    With `rules` the first message is a system message that ends in `prompt.SYSTEM`; the request's own, if it has one,
    comes before that in the same message.
    """
    plain = [_plain(message) for message in messages]
    if not rules:
        return tuple(plain)
    own = plain.pop(0).content if plain and plain[0].role == "system" else ""
    return (Message("system", f"{own}\n\n{SYSTEM}" if own else SYSTEM), *plain)


def _plain(message: Message) -> Message:
    content = user_turn(message.sources, message.content) if message.role == "user" else message.content
    return Message(message.role, content)


def _citation(source_id: str, hit: Hit) -> Citation:
    return Citation(hit.source, source_id, _as_rendered(hit.title), hit.locator, _as_rendered(hit.text))


def _as_rendered(text: str) -> str:
    """`text` as `prompt.render_source` writes it; rendering it once more changes nothing."""
    return " ".join(neutralize(text).split())


class Print(msgspec.Struct, frozen=True):
    """What a passage is recognised by: its runs of three words, and its numbers."""

    shingles: frozenset[tuple[str, ...]]
    numbers: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Print:
        found = words(text)
        runs = (tuple(found[i : i + _SHINGLE]) for i in range(max(1, len(found) - _SHINGLE + 1)))
        return cls(frozenset(runs), frozenset(word for word in found if any(map(str.isdigit, word))))

    def repeats(self, other: Print) -> bool:
        """True where most of the smaller passage stands in the other, and every number of this one does: the same
        sentence on another plan or from another year is not the same."""
        shared = len(self.shingles & other.shingles)
        return self.numbers <= other.numbers and shared >= DUPLICATE * min(len(self.shingles), len(other.shingles))
