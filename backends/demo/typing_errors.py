"""How people type: in other words and another kind of sentence, with a story before it, politeness, lower case, missing
words and punctuation, swapped and lost letters."""

from __future__ import annotations

from random import Random

from backends.demo.rephrasing import exchanged, keywords, recast

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
    "Good morning, ",
    "Dear team, ",
    "Just wondering, ",
    "Maybe you know: ",
    "Can somebody help? ",
    "hmm, ",
    "Out of curiosity: ",
    "Short one: ",
)
_AFTER = (
    " Thanks!",
    " Thank you.",
    " please",
    " Please help.",
    " Thanks",
    " ??",
    " Thx",
    " Any idea?",
    " Thank you in advance.",
    " asap",
    " Cheers",
)


_STORIES = (
    "We are a small team.",
    "I run a small shop.",
    "I signed up last week.",
    "We have been customers for years.",
    "My boss wants to know this.",
    "I could not find this on your site.",
    "We are thinking about your product.",
    "I am new here.",
    "Our team has {n} people.",
    "I work in accounting.",
    "Sorry to bother you.",
    "I looked everywhere.",
    "My colleague could not tell me.",
    "I have a question about my account.",
    "This is about billing.",
    "I need to know this today.",
    "I just joined the company.",
    "I am not good with computers.",
    "We are moving to another office.",
    "I am in a hurry.",
    "It was not my idea.",
    "I take care of the money here.",
    "I am comparing a few tools.",
    "Long time user here.",
    "We only use this for one project.",
    "I read your page twice.",
    "Our budget is tight.",
    "My manager is asking.",
    "I am on holiday soon.",
    "I am writing a report.",
)
_SMALL = frozenset(("a", "an", "the", "my", "our", "do", "does", "is", "are", "to", "of", "for", "can", "will"))


def _hurried(text: str, rng: Random) -> str:
    """`text` with some small words lost."""
    words = text.split(" ")
    return " ".join(w for i, w in enumerate(words) if not (i and w in _SMALL and rng.random() < 0.15))


def careless(text: str, rng: Random) -> str:
    """`text` as a person in a hurry may type it; one time in three it stays as it is."""
    if rng.random() < 0.35:
        return text
    if rng.random() < 0.3:
        text = recast(text, rng)
    if rng.random() < 0.5:
        text = exchanged(text, rng)
    if rng.random() < 0.15:
        text = _hurried(text, rng)
    elif rng.random() < 0.05:
        text = keywords(text, rng)
    if rng.random() < 0.12:
        text = rng.choice(_STORIES).format(n=rng.randint(2, 90)) + " " + text
    if rng.random() < 0.1:
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
