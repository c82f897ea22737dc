"""Other ways to ask the same: words and phrases exchanged (`same.txt`), a question turned into a wish or keywords."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

from backends.rag.words import STOP

_FORMS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), forms)
    for pattern, forms in (
        (
            r"how (?:do|can|would|should) (?:I|we) (.+)\?$",
            (
                "How to {}?",
                "I want to {}. How?",
                "I'd like to {}. How does that work?",
                "I am trying to {} but don't know how.",
                "Can you tell me how to {}?",
                "Could you explain how to {}?",
                "What do I have to do to {}?",
                "What is the way to {}?",
                "Is there a way to {}?",
                "How does one {}?",
                "We have to {}. What is the procedure?",
                "Help me {}.",
                "I need to {}, what must I do?",
                "{}, how?",
            ),
        ),
        (
            r"where (?:do|can|would) (?:I|we) (.+)\?$",
            (
                "Where to {}?",
                "I can't find where to {}.",
                "Which menu do I open to {}?",
                "Where in the app can one {}?",
                "I am looking for the place to {}.",
                "Which page lets me {}?",
                "Where would I go to {}?",
                "Where must I click to {}?",
            ),
        ),
        (
            r"(?:can|could|may) (?:I|we) (.+)\?$",
            (
                "Is it possible to {}?",
                "Am I able to {}?",
                "Would it be possible to {}?",
                "I wonder if I can {}.",
                "Is there a chance to {}?",
                "We would like to {}, is that allowed?",
                "Are we allowed to {}?",
                "I'd like to {}. Possible?",
                "Does it work to {}?",
                "Could someone {}?",
                "I was told that I could {}. Is that so?",
            ),
        ),
        (
            r"(?:what is|what's|what are) (the .+)\?$",
            (
                "Tell me {}.",
                "I would like to know {}.",
                "Could you give me {}?",
                "Do you know {}?",
                "I need to know {}.",
                "I can't find {}.",
                "Please state {}.",
                "I forgot {}.",
                "{}, please.",
            ),
        ),
        (
            r"(?:do you have|is there|do you offer|are there) (?:a |an |any )?(.+)\?$",
            (
                "Any {}?",
                "Have you got {}?",
                "Do you provide {}?",
                "I am looking for {}.",
                "{} available?",
                "We need {}.",
            ),
        ),
        (
            r"(?:do|must|will) (I|we) (.+)\?$",
            ("Am I supposed to {1}?", "Is it necessary to {1}?", "Would {0} {1}?", "I want to know if {0} {1}."),
        ),
    )
)
_WRAPPED = (
    "Do you know {}",
    "I wonder {}",
    "May I ask {}",
    "My boss asks: {}",
    "Can you tell me: {}",
    "My colleague wants to know: {}",
    "I have to find out: {}",
    "Just to be sure: {}",
    "A customer of ours asks: {}",
    "Not sure about this: {}",
    "Before I decide: {}",
    "{} I need to know.",
    "{} I could not find it.",
    "{} Somebody asked me.",
    "{} Asking for a friend.",
)


@cache
def _groups() -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    """A pattern of every word and phrase of `same.txt`, longest first, and what each may become."""
    others: dict[str, tuple[str, ...]] = {}
    for line in (Path(__file__).parent / "same.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            group = tuple(part.strip() for part in line.split("|"))
            for part in group:
                others.setdefault(part.lower(), group)
    longest = sorted(others, key=lambda part: (-len(part), part))
    return re.compile(r"\b(" + "|".join(map(re.escape, longest)) + r")\b", re.IGNORECASE), others


def exchanged(text: str, rng: Random, share: float = 0.35) -> str:
    """`text` with this share of the words and phrases that have others of the same meaning exchanged for one."""
    pattern, others = _groups()

    def other(match: re.Match[str]) -> str:
        said = match.group()
        if rng.random() >= share:
            return said
        chosen = rng.choice(others[said.lower()])
        return chosen[:1].upper() + chosen[1:] if said[0].isupper() and match.start() == 0 else chosen

    return pattern.sub(other, text)


def recast(text: str, rng: Random) -> str:
    """`text` as another kind of sentence, if it is of a form that has any; else wrapped in one."""
    for pattern, forms in _FORMS:
        found = pattern.match(text)
        if found and rng.random() < 0.7:
            said = rng.choice(forms).format(*found.groups())
            return said[:1].upper() + said[1:]
    if rng.random() < 0.6:
        return text
    return rng.choice(_WRAPPED).format(text[:1].lower() + text[1:] if text[:2] not in ("I ", "I'") else text)


def keywords(text: str, rng: Random) -> str:
    """The words that carry the meaning, as typed into a search box; `text` where fewer than two are left."""
    kept = [
        word
        for i, word in enumerate(text.rstrip("?.! ").split(" "))
        if word.lower().strip(",.") not in STOP or (i == 0 and rng.random() < 0.5)
    ]
    return " ".join(kept) if len(kept) > 1 else text
