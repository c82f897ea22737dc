"""A register of invented things with invented attributes, to learn finding and copying apart from any knowledge."""

from __future__ import annotations

import re
from random import Random

from backends.demo.handbook import Fact, invented

Stated = tuple[str, str, str, str, tuple[tuple[Fact, str], ...]]
"""Section, document, heading, title and facts of a passage."""

_ATTRIBUTES = (
    (
        "price",
        "{What is|What's|Tell me} the {price|cost} of E{?|}|How {expensive is|much is|much does one pay for} E?",
        "N euros",
    ),
    (
        "monthly fee",
        "{What is|What's|How high is} the monthly fee {of|for} E?|What {does|will} E cost {a|per} month?",
        "N dollars",
    ),
    (
        "limit",
        "{What is|What's} the limit {of|for} E?|How much {is allowed|can one have} {with|in} E {at most|}?",
        "N files",
    ),
    ("owner", "{Who is|Who's|Name} the owner of E{?|}|{Who owns|To whom belongs|Whose is} E?", "X"),
    (
        "contact",
        "{Who is|Who's} the contact {of|for} E?|{Whom do I ask|Who can help|Whom do I write to} about E?",
        "X X",
    ),
    ("notice period", "{What is|How long is} the notice period {of|for} E?|How early must E be cancelled?", "N days"),
    (
        "opening time",
        "{What is|When is} the opening time of E?|{When|From when} {is E open|does E open}?",
        "N minutes past noon",
    ),
    ("discount", "{What is|How high is|What's} the discount {on|for|of} E?|How much {cheaper|less} is E?", "N percent"),
    (
        "deadline",
        "{What is|When is|What's} the deadline {of|for} E?|{Until when|By when} must E be done?",
        "N days after X",
    ),
    ("code", "{What is|What's|Give me} the code {of|for} E{?|}|Which code {has E|belongs to E|opens E}?", "X-N"),
    ("colour", "{What is|What's|Which is} the colour of E?|{Which colour|What colour} {is|has} E?", "X green"),
    ("head office", "{Where is|What is} the head office of E?|Where {does E sit|is E based|can E be found}?", "X"),
    (
        "start date",
        "{What is|When is} the start date of E?|When {does E start|does E begin|will E go live}?",
        "day N of X",
    ),
    (
        "capacity",
        "{What is|How big is} the capacity of E?|How many {people fit into|seats has|places are in} E?",
        "N seats",
    ),
    ("weight", "{What is|What's} the weight of E?|How {heavy is|much weighs} E?", "N grams"),
    ("length", "{What is|What's} the length of E?|How long is E?", "N metres"),
    ("warranty", "{What is|How long is} the warranty {of|for|on} E?|How long is E covered?", "N months"),
    ("material", "{What is|What's} the material of E?|What is E made of?", "X wood"),
    (
        "password rule",
        "{What is|What's} the password rule {of|for} E?|How long must a password for E be?",
        "at least N letters",
    ),
    (
        "delivery time",
        "{What is|How long is} the delivery time {of|for} E?|When {does E arrive|is E delivered}?",
        "N hours",
    ),
    ("supplier", "{Who is|Name} the supplier of E?|{Who delivers|Where do we buy|Who sells us} E?", "X X"),
    ("speed", "{What is|How high is} the speed of E?|How fast {is|does} E{ go|}?", "N units per hour"),
    (
        "storage place",
        "{What is|Where is} the storage place of E?|Where {is E kept|do I find E|does E stand}?",
        "shelf N",
    ),
    ("version", "{What is|Which is} the version of E?|Which version {does E have|has E}?", "N.N"),
    ("language", "{What is|Which is} the language of E?|{In which language is E|What does E speak}?", "X"),
    ("fine", "{What is|How high is} the fine for E?|What {do I pay|is due} if I break E?", "N crowns"),
)

_STATEMENTS = (
    "The A of E is V.",
    "E has the A V.",
    "For E , the A is V.",
    "A of E : V.",
    "The A is V for E.",
    "E : A V.",
    "With E , the A is V.",
    "As for the A , E has V.",
)


def register(rng: Random) -> tuple[list[Stated], list[str]]:
    """Passages on two to four things with the same attributes, and question patterns for a thing that is missing."""
    attributes = rng.sample(_ATTRIBUTES, rng.randint(2, 4))
    passages: list[Stated] = []
    for _ in range(rng.choice((2, 3, 3, 3, 4))):
        name = invented(rng)
        facts = []
        for attribute, question, unit in rng.sample(attributes, rng.randint(1, len(attributes))):
            value = re.sub("[NX]", lambda slot: str(rng.randint(2, 999)) if slot[0] == "N" else invented(rng), unit)
            sentence = _sentence(rng.choice(_STATEMENTS), attribute, name, value)
            asked = tuple(_about(pattern, name) for pattern in _patterns(question))
            facts.append((Fact(f"{name}/{attribute}", (), asked), sentence))
        other, another = invented(rng), invented(rng)
        title = rng.choice((name, f"Register > {name}", f"{other} > {name}", f"{other} > {another}"))
        passages.append((name, "Register", name, title, tuple(facts)))
    absent = invented(rng)
    return passages, [_about(pattern, absent) for _, question, _ in attributes for pattern in _patterns(question)]


def _patterns(questions: str) -> list[str]:
    """The patterns of an attribute, which stand one after the other: ``|`` between two is outside of any braces."""
    return re.split(r"\|(?![^{}]*\})", questions)


def _about(pattern: str, name: str) -> str:
    return re.sub(r"\bE\b", name, pattern)


def _sentence(statement: str, attribute: str, name: str, value: str) -> str:
    parts = {"A": attribute, "E": name, "V": value}
    words = [parts.get(word.rstrip(".")) or word for word in statement.split()]
    text = " ".join(words).replace(" ,", ",").replace(" :", ":").rstrip(".") + "."
    return text[:1].upper() + text[1:]
