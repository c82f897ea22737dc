"""Passages without the sentences that have nothing of the question: shorter prompts, less context. Pure."""

from __future__ import annotations

import msgspec

from backends.rag.rerank import Terms
from backends.rag.sections import sentences
from backends.rag.store import Hit
from backends.rag.words import key, words

_SHORT = 3  # sentences: a passage of so few is one thought


def compress(hit: Hit, terms: Terms) -> Hit:
    """`hit` with only the sentences that have a word of `terms`, and the one after each, which may go on from it.

    A short passage stays as it is, and so does one that was found by its title or its meaning, without a word of it.
    """
    parts = [unit.text for unit in sentences(hit.text, 1, 1)]
    wanted = {word for term in terms for word in term}
    having = {i for i, part in enumerate(parts) if any(key(word) in wanted for word in words(part))}
    kept = having | {i + 1 for i in having}
    if len(parts) <= _SHORT or not having or len(kept) >= len(parts):
        return hit
    return msgspec.structs.replace(hit, text=" ".join(part for i, part in enumerate(parts) if i in kept))
