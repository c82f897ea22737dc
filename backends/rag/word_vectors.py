"""A very small embedding model: a text is the sum of its words' vectors. For the demo's documents; no GGUF, no engine.

Words are compared by `words.key`; one that the model does not know is the mean of its letter groups' vectors (three to
five letters, hashed), so that a misspelled word is near the one that was meant (Bojanowski et al. 2017, "Enriching Word
Vectors with Subword Information"). `backends.demo.meaning` makes the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backends.rag.words import key, words

if TYPE_CHECKING:
    from backends.rag.meaning import Rows


class WordVectors:
    """The model in the file at `path`: an ``.npz`` of `words` (UTF-8, one a line), `rows` (int8, shape (words + groups,
    dimensions)) and `scales` (float16, one a row). Raises OSError or ValueError where there is no such model."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        with np.load(path, allow_pickle=False) as file:
            known = bytes(file["words"]).decode().split("\n")
            self._rows: Rows = file["rows"].astype(np.float32) * file["scales"].astype(np.float32)[:, None]
        self._places = {word: place for place, word in enumerate(known)}
        self._groups = len(self._rows) - len(known)

    def embed(self, texts: Sequence[str]) -> Rows:
        """The vectors of `texts`: float32, shape (len(texts), dimensions), of length 1; of 0 for one without words."""
        import numpy as np

        found = np.zeros((len(texts), self._rows.shape[1]), np.float32)
        for i, text in enumerate(texts):
            for places in (self._of(key(word)) for word in words(text)):
                found[i] += self._rows[places].mean(axis=0)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-6))
        return found

    def close(self) -> None:
        """There is nothing to free."""

    def _of(self, word: str) -> list[int]:
        place = self._places.get(word)
        known = len(self._places)
        return [place] if place is not None else [known + group for group in letter_groups(word, self._groups)]


def letter_groups(word: str, count: int) -> list[int]:
    """The letter groups of a word, hashed to 0 ... `count` - 1; never none."""
    marked = f"<{word}>"
    groups = {marked[i : i + size] for size in (3, 4, 5) for i in range(len(marked) - size + 1)} | {marked}
    return [zlib.crc32(group.encode()) % count for group in sorted(groups)]
