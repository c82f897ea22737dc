"""The handbook: facts of billing support as patterns, with the questions that ask for them.

`handbook_*.txt` hold it. A line's first word says what it is:

    # document title | another        ## section heading | another        t what the section is about | another
    s a way to state the fact         q a question for it                 y a question answered with "Yes."
    f a follow-up that asks for it after another question of its section
    x one that asks for it after a question of another section of its document
    each A B C                        the fact is stated once for each of three plans, in `<P>`

An empty line ends a fact. ``{a|b}`` is a choice, ``<n:20:5-50>`` a slot with the sample documents' value and a range.
The first choice and the first value everywhere give the sample documents; a random draw gives any other company's.
"""

from __future__ import annotations

import itertools
import json
import re
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
HELD_OUT_SHARE = 10
"""One wording in this many is never trained on: the evaluation asks with those."""

NEAR_COPY = 0.75
"""A wording that shares this much of its words with a hand-written question of the evaluation is held out too."""

_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<(n|p|w|dur|mail|cur|A|B|C|P)(?::([^<>:]*))?(?::([^<>:]*))?>")
_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_UNITS = (("hour", 72), ("day", 90), ("day", 60), ("business day", 15), ("week", 12), ("month", 18), ("year", 10))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PLANS = _names(
    "Starter Basic Plus Pro Premium Business Scale Growth Enterprise Family Lite Max Core Silver Gold Flex Prime Team "
    "Solo Crew Studio Bronze Free Advanced Standard Expert Personal Agency Small Large Duo Hobby Office Company Club"
)
_COMPANIES = _names("Northwind Brightdesk Paperlane Oakline Quillbox Riverstack Tidehall Fernway Coppermill Skylarch")
_CURRENCIES = ("euros", "euros", "dollars", "pounds", "francs", "crowns")
_SYLLABLES = _names(
    "ba be bi bo ca co da de do fa fe fi ga go ha he hi jo ka ke ko la le li lo ma me mi mo na ne ni no pa pe po "
    "ra re ri ro sa se si so ta te ti to va ve vi vo za ze zo bra cle dri fro gla kre plo sta tri ster den lin mar nor"
)


def invented(rng: Random) -> str:
    """A made-up name such as ``Velora``: copying it cannot be learnt by heart."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 2, 3, 3)))).capitalize()


@dataclass(frozen=True)
class World:
    """One company: what its names are. `rng` is None for the company of the sample documents."""

    company: str
    plans: tuple[str, str, str]
    currency: str
    domain: str
    style: int = 0
    """Which of the titles and headings its documents use."""
    titled: bool = True
    """Whether a passage's title names the document too."""

    @classmethod
    def sample(cls) -> World:
        return cls("Larkspur", ("Solo", "Crew", "Studio"), "euros", "larkspur.example")

    @classmethod
    def draw(cls, rng: Random) -> World:
        company = rng.choice(_COMPANIES) if rng.random() < 0.3 else invented(rng)
        plans: list[str] = []
        while len(plans) < 3:
            name = rng.choice(_PLANS) if rng.random() < 0.75 else invented(rng)
            if name not in plans:
                plans.append(name)
        if rng.random() < 0.15:
            plans = list(cls.sample().plans)
        style = 0 if rng.random() < 0.6 else rng.randrange(3)
        names = (plans[0], plans[1], plans[2])
        return cls(
            company, names, rng.choice(_CURRENCIES), f"{company.lower()}.example", style, titled=rng.random() >= 0.1
        )


@dataclass(frozen=True)
class Fact:
    """Something a document may state, in several ways, and the questions whose answer it is."""

    key: str
    statements: tuple[str, ...]
    questions: tuple[str, ...] = ()
    yes_questions: tuple[str, ...] = ()
    follow_ups: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    """Follow-ups after another section of the same document."""
    plan: int | None = None
    """Which of the three plans ``<P>`` is, for a fact stated of each."""


@dataclass
class Section:
    """A part of a document, with the facts that it states and the topics by which they are asked for together."""

    headings: tuple[str, ...]
    document: Document
    topics: tuple[str, ...] = ()
    facts: list[Fact] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.headings[0]


@dataclass
class Document:
    """A document of the handbook; of titles and headings the first are those of the sample company."""

    titles: tuple[str, ...]
    sections: list[Section] = field(default_factory=list)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def _facts(section: Section, lines: list[str], number: int) -> list[Fact]:
    kinds: dict[str, list[str]] = {kind: [] for kind in "sqyfx"}
    plans: list[int | None] = [None]
    for line in lines:
        kind, _, text = line.partition(" ")
        if kind == "each":
            plans = list(range(len(text.split())))
        else:
            kinds[kind].append(text)
    said, asked, yes, followed, later = (tuple(kinds[kind]) for kind in "sqyfx")
    names = [f"{section.key}/{number}" + ("" if plan is None else "ABC"[plan]) for plan in plans]
    return [Fact(name, said, asked, yes, followed, later, plan) for name, plan in zip(names, plans, strict=True)]


@cache
def handbook() -> tuple[Document, ...]:
    """Read every document of the handbook, in the order of the files."""
    documents: list[Document] = []
    block: list[str] = []
    number = 0
    lines = [
        line for path in sorted(HERE.glob("handbook_*.txt")) for line in [*path.read_text("utf-8").splitlines(), ""]
    ]
    for line in lines:
        if line.startswith("# "):
            documents.append(Document(_parts(line[2:])))
        elif line.startswith("## "):
            documents[-1].sections.append(Section(_parts(line[3:]), documents[-1]))
            number = 0
        elif line.startswith("t "):
            documents[-1].sections[-1].topics = _parts(line[2:])
        elif line.strip():
            block.append(line)
        elif block:
            section = documents[-1].sections[-1]
            section.facts += _facts(section, block, number)
            number, block = number + 1, []
    return tuple(documents)


@cache
def wordings(pattern: str) -> tuple[str, ...]:
    """Every text that the choices of `pattern` allow, slots left as they are."""
    pieces = _CHOICE.split(pattern)
    choices = [[piece] if i % 2 == 0 else piece.split("|") for i, piece in enumerate(pieces)]
    return tuple(" ".join("".join(words).split()).replace(" ,", ",") for words in itertools.product(*choices))


@cache
def _reserved() -> tuple[frozenset[str], ...]:
    """The words of each hand-written question of the evaluation: they are never trained on, nor is a near copy."""
    files = (HERE / "questions.json", HERE / "practice.json")
    return tuple(_said(entry["question"]) for path in files for entry in json.loads(path.read_text("utf-8")))


def _said(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def is_held_out(wording: str) -> bool:
    """True for one wording in `HELD_OUT_SHARE`, and for what has the words of a question written by hand."""
    if zlib.crc32(wording.encode()) % HELD_OUT_SHARE == 0:
        return True
    for plan in range(3 if "<P>" in wording else 1):
        words = _said(fill(wording, World.sample(), None, plan))
        if any(len(words & other) >= NEAR_COPY * len(words | other) for other in _reserved()):
            return True
    return False


@cache
def _split_wordings(pattern: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    every = wordings(pattern)
    held = tuple(text for text in every if is_held_out(text))
    trained = tuple(text for text in every if text not in held)
    return (trained or every, held or every)


def choose(pattern: str, rng: Random | None, *, held_out: bool = False) -> str:
    """One wording of `pattern`: the first without `rng`; a drawn one, trained on or held out, with it."""
    if rng is None:
        return wordings(pattern)[0]
    return rng.choice(_split_wordings(pattern)[held_out])


def has_held_out(pattern: str) -> bool:
    """Whether some wording of `pattern` is never trained on: the others have too few."""
    trained, held = _split_wordings(pattern)
    return trained != held


def _duration(rng: Random) -> str:
    unit, most = rng.choice(_UNITS)
    number = rng.choice((1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 15, 20, 21, 24, 28, 30, 36, 45, 48, 60, 72, 90))
    number = number if number <= most else rng.randint(1, most)
    word = _WORDS[number - 2] if 2 <= number <= 12 and rng.random() < 0.35 else str(number)
    return f"{word} {unit}{'' if number == 1 else 's'}"


def fill(text: str, world: World, rng: Random | None, plan: int | None = None) -> str:
    """Put values into the slots of `text`: the sample documents' without `rng`, drawn ones with it."""

    def value(match: re.Match[str]) -> str:
        kind, default, span = match.group(1), match.group(2) or "", match.group(3) or ""
        if kind in "ABC":
            return world.plans["ABC".index(kind)]
        if kind == "P":
            return world.plans[plan or 0]
        if kind == "cur":
            return world.currency
        if kind == "mail":
            return f"{default}@{world.domain}"
        if rng is None:
            values = default.split(",")
            return values[(plan or 0) % len(values)]
        if kind == "w":
            return rng.choice(_WORDS) if rng.random() < 0.8 else str(rng.randint(2, 12))
        if kind == "dur":
            return _duration(rng)
        low, high = (int(part) for part in span.split("-"))
        number = rng.randint(low, high)
        return f"{number}.{rng.choice(('50', '90', '25', '99'))}" if kind == "p" and rng.random() < 0.2 else str(number)

    return _SLOT.sub(value, text)
