"""A register of invented things with invented attributes, to learn finding and copying apart from any knowledge."""

from __future__ import annotations

from random import Random

from backends.demo.handbook import Fact, invented

Stated = tuple[str, str, str, str, tuple[tuple[Fact, str], ...]]
"""Section, document, heading, title and facts of a passage."""

_ATTRIBUTES = (
    ("price", "{What is|What's|Tell me} the {price|cost} of E{?|}", "N euros"),
    ("monthly fee", "{What is|What's|How high is} the monthly fee {of|for} E?", "N dollars"),
    ("limit", "{What is|What's} the limit {of|for} E?", "N files"),
    ("owner", "{Who is|Who's|Name} the owner of E{?|}", "X"),
    ("contact", "{Who is|Who's} the contact {of|for} E?", "X X"),
    ("notice period", "{What is|How long is} the notice period {of|for} E?", "N days"),
    ("opening time", "{What is|When is} the opening time of E?", "N minutes past noon"),
    ("discount", "{What is|How high is|What's} the discount {on|for|of} E?", "N percent"),
    ("deadline", "{What is|When is|What's} the deadline {of|for} E?", "N days after X"),
    ("code", "{What is|What's|Give me} the code {of|for} E{?|}", "X-N"),
    ("colour", "{What is|What's|Which is} the colour of E?", "X green"),
    ("head office", "{Where is|What is} the head office of E?", "X"),
    ("start date", "{What is|When is} the start date of E?", "day N of X"),
    ("capacity", "{What is|How big is} the capacity of E?", "N seats"),
)

_STATEMENTS = ("The A of E is V.", "E has the A V.", "For E , the A is V.", "A of E : V.", "The A is V for E.")


def register(rng: Random) -> tuple[list[Stated], list[str]]:
    """Passages on two to four things with the same attributes, and question patterns for a thing that is missing."""
    attributes = rng.sample(_ATTRIBUTES, rng.randint(2, 4))
    passages: list[Stated] = []
    for _ in range(rng.choice((2, 3, 3, 3, 4))):
        name = invented(rng)
        facts = []
        for attribute, question, unit in rng.sample(attributes, rng.randint(1, len(attributes))):
            value = unit.replace("N", str(rng.randint(2, 999))).replace("X", invented(rng))
            sentence = _sentence(rng.choice(_STATEMENTS), attribute, name, value)
            facts.append((Fact(f"{name}/{attribute}", (), (question.replace("E", name),)), sentence))
        other, another = invented(rng), invented(rng)
        title = rng.choice((name, f"Register > {name}", f"{other} > {name}", f"{other} > {another}"))
        passages.append((name, "Register", name, title, tuple(facts)))
    absent = invented(rng)
    return passages, [question.replace("E", absent) for _, question, _ in attributes]


def _sentence(statement: str, attribute: str, name: str, value: str) -> str:
    parts = {"A": attribute, "E": name, "V": value}
    words = [parts.get(word.rstrip(".")) or word for word in statement.split()]
    text = " ".join(words).replace(" ,", ",").replace(" :", ":").rstrip(".") + "."
    return text[:1].upper() + text[1:]
