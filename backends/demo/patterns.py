"""What the training text is drawn from: the handbook's sections and the patterns in the text files beside this one."""

from __future__ import annotations

from functools import cache

from backends.demo.handbook import HERE, Section, handbook
from backends.rag.words import content_words, key

OTHER_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Answer the user's question.",
    "You help customers with billing questions. Use the sources and cite them.",
)
STEPS = (
    "{Explain|Describe|Show me} {T} {step by step|as a list of steps|in steps}{.|, please.}",
    "{Walk me through|Take me through|Guide me through} {T}{.| step by step.|, please.}",
    "{Give me|I need|Please write} {a step by step guide to|step by step instructions for|the steps of} {T}.",
    "How does {T} work{, step by step|? Step by step, please|? Explain step by step}{?|.}",
)
DETAILS = (
    "{Explain|Describe} {T} {in detail|at length|in full|in depth}{.|, please.}",
    "{Tell me|Explain|Write down} {everything|all you know|all there is} about {T}.",
    "{Give me|I want|I need} {all details|the full information|a long answer|a detailed answer} about {T}.",
    "{Explain|Describe|Tell me} {in detail|at length|in full}{| all about| everything about|:} {T}{.|, please.}",
    "{A detailed|A complete|An exhaustive} {overview|summary|account|explanation} of {T}{.|, please.}",
    "{T}{: all details| in detail|, everything about it|, a long answer}{.|, please.}",
    "What {should I|do I need to} know about {T}? {In detail|A long answer|Please explain in detail}{.|, please.}",
)
STEP_SUFFIX = "{Explain step by step|Step by step, please|Please explain it step by step|Show me the steps}."
DETAIL_SUFFIX = "{Explain in detail|In detail, please|Please answer at length|A long answer, please|All details}."


@cache
def sections() -> tuple[Section, ...]:
    """All sections of the handbook."""
    return tuple(section for document in handbook() for section in document.sections)


@cache
def _by_key() -> dict[str, Section]:
    return {section.key: section for section in sections()}


def section_of(key: str) -> Section:
    """The section of that key."""
    return _by_key()[key]


@cache
def alike() -> dict[str, tuple[Section, ...]]:
    """For each section the ones whose words are most like its own: what retrieval brings along."""
    keys = {
        section.key: frozenset(
            key(word)
            for fact in section.facts
            for text in (*fact.statements, *fact.questions, *section.headings)
            for word in content_words(text)
        )
        for section in sections()
    }

    def likeness(one: Section, other: Section) -> float:
        a, b = keys[one.key], keys[other.key]
        return len(a & b) / min(len(a), len(b))

    return {
        one.key: tuple(sorted((s for s in sections() if s is not one), key=lambda s: -likeness(one, s))[:6])
        for one in sections()
    }


@cache
def small_talk() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Groups of what people say besides asking, each with the reply."""
    groups: list[tuple[tuple[str, ...], str]] = []
    patterns: list[str] = []
    for line in (HERE / "smalltalk.txt").read_text("utf-8").splitlines():
        if line.startswith(">"):
            patterns.append(line[1:].strip())
        elif line.startswith("="):
            groups.append((tuple(patterns), line[1:].strip().replace("\\n", "\n")))
            patterns = []
    return tuple(groups)


@cache
def absent() -> tuple[str, ...]:
    """Questions that no billing document answers."""
    lines = (HERE / "absent.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def tempting() -> dict[str, tuple[str, ...]]:
    """For each section the questions that it seems to answer and does not."""
    found: dict[str, list[str]] = {}
    patterns: list[str] = []
    for line in (HERE / "tempting.txt").read_text("utf-8").splitlines():
        if line.startswith("## "):
            patterns = found.setdefault(line[3:].strip(), [])
        elif line and not line.startswith("#"):
            patterns.append(line)
    return {section: tuple(lines) for section, lines in found.items()}
