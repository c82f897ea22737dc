"""The words a model sees around retrieved passages: one place, shared by `assemble` and the demo model's training text.

The layout is append-only (DESIGN.md, "Prefix caching"): a stable system prompt, then the turns; sources go into the
newest user turn and stay there verbatim. A passage stands between ``[S1]`` and ``[/S1]``; nothing inside a passage
can spell either marker, so retrieved text cannot close its own delimiter or pose as another source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SYSTEM = (
    "You answer questions from the given sources and cite them like [S1]. "
    "If the sources do not contain the answer, say so."
)

_MARKER = re.compile(r"\[(\s*/?\s*[sS]\s*\d+\s*)\]")
_SPACE = re.compile(r"\s+")


def neutralize(text: str) -> str:
    """Return `text` with every source marker in it turned into round brackets: ``[S1]`` becomes ``(S1)``."""
    return _MARKER.sub(r"(\1)", text)


def render_source(source_id: str, title: str, text: str) -> str:
    """One passage as one line: ``[S1] Title: text [/S1]``. Runs of white space become one space."""
    title = _SPACE.sub(" ", neutralize(title)).strip()
    text = _SPACE.sub(" ", neutralize(text)).strip()
    head = f"{title}: " if title else ""
    return f"[{source_id}] {head}{text} [/{source_id}]"


def render_user_turn(sources: Sequence[str], question: str) -> str:
    """The newest user turn: the rendered sources (possibly none), a blank line, the question as it was typed."""
    if not sources:
        return question
    return "Sources:\n" + "\n".join(sources) + "\n\nQuestion: " + question
