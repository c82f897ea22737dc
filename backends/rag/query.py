"""What to look for: search terms from a conversation. Pure.

The terms are the content words of the last question. A question that leans on the one before it ("and for teams?",
"how long does that take?") also takes that one's terms at EARLIER_WEIGHT, and so on back, three questions at most.
A question leans when it points back (`words.POINTING`, "what about ...") and has at most LEANING_WORDS content words.
Politeness and small talk ("thanks!", "who are you?") give no terms at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from backends.rag.words import POINTING, SOCIAL, content_words, key, words

LEANING_WORDS = 3
EARLIER_WEIGHT = 0.4
MAX_EARLIER = 3
MAX_TERMS = 48

_PRICE = "price"
_HOW_MUCH = re.compile(r"\bhow\s+much\b", re.IGNORECASE)  # stop words both, and yet a question for a price
_WHAT_ABOUT = re.compile(r"\s*(?:and|or|but|so)?\s*(?:what|how)\s+about\b", re.IGNORECASE)


class Term(msgspec.Struct, frozen=True):
    """A word to look for; `weight` is 1 for the words of the question itself, less for those of earlier ones."""

    word: str
    weight: float = 1.0


class Query(msgspec.Struct, frozen=True):
    """The question as it was typed, and its terms, no word twice in any form, most important first; the earlier
    questions that it leans on, newest first."""

    text: str
    terms: tuple[Term, ...] = ()
    earlier: tuple[str, ...] = ()


def build_query(questions: Sequence[str]) -> Query:
    """The query for the last of `questions`, the user's messages of a conversation in order."""
    if not questions:
        return Query("")
    found: dict[str, Term] = {}
    asked: list[str] = []
    weight = 1.0
    for question in list(reversed(questions))[: MAX_EARLIER + 1]:
        asked.append(question)
        for word in content_words(question):
            found.setdefault(key(word), Term(word, weight))
        if _HOW_MUCH.search(question):
            found.setdefault(key(_PRICE), Term(_PRICE, weight / 2))
        if not _leans(question):
            break
        weight *= EARLIER_WEIGHT
    return Query(questions[-1], tuple(found.values())[:MAX_TERMS], tuple(asked[1:]))


def _leans(question: str) -> bool:
    """True where the question cannot be understood without the one before it."""
    said = words(question)
    content = content_words(question)
    if not content and any(word in SOCIAL for word in said):
        return False
    if len(content) > LEANING_WORDS:
        return False
    return _WHAT_ABOUT.match(question) is not None or any(word in POINTING for word in said)
