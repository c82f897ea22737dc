"""Careless typing: lower case, missing punctuation, politeness, swapped and lost letters."""

from __future__ import annotations

from random import Random

_BEFORE = (
    "Hi, ",
    "Hello, ",
    "Please tell me: ",
    "Quick question: ",
    "Sorry, ",
    "Hey, ",
    "One question: ",
    "ok, ",
    "So ",
)
_AFTER = (" Thanks!", " Thank you.", " please", " Please help.", " Thanks", " ??")


def careless(text: str, rng: Random) -> str:
    """`text` as a person in a hurry may type it; two times in five it stays as it is."""
    if rng.random() < 0.4:
        return text
    if rng.random() < 0.12:
        text = rng.choice(_BEFORE) + text[:1].lower() + text[1:]
    if rng.random() < 0.08:
        text += rng.choice(_AFTER)
    if rng.random() < 0.35:
        text = text.rstrip("?.!")
    if rng.random() < 0.35:
        text = text.lower()
    if rng.random() < 0.3:
        for _ in range(rng.choice((1, 1, 2))):
            text = _slip(text, rng)
    return text


def _slip(text: str, rng: Random) -> str:
    """One swapped, lost, doubled or wrong letter in a word of four letters or more."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and word.islower()]
    if not long:
        return text
    index = rng.choice(long)
    word = words[index]
    at = rng.randrange(1, len(word) - 1)
    how = rng.randrange(4)
    if how == 0:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif how == 1:
        word = word[:at] + word[at + 1 :]
    elif how == 2:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + rng.choice("aeiourstln") + word[at + 1 :]
    words[index] = word
    return " ".join(words)
