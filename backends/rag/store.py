"""What an index is kept in: `Store`, the interface that SQLite and PostgreSQL stand behind, and the data it holds.

A store writes one file's passages at a time, all or nothing, so that a crash never leaves half of a document.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from backends.rag.chunk import Passage
from backends.rag.words import key, words


class Hit(msgspec.Struct, frozen=True):
    """A passage that matches. `source` is its file's name, `place` its number there from 0, `bm25` larger is better.

    `similarity` is 0 to 1: how much its meaning is the question's, as far as an embedding model can tell. `number` is
    the store's own."""

    source: str
    place: int
    title: str
    text: str
    locator: str
    bm25: float
    similarity: float = 0.0
    number: int = 0


class Stamp(msgspec.Struct, frozen=True):
    """A file as the store knows it. `digest` is of its bytes, `failure` says why it could not be read, or nothing."""

    path: str
    name: str
    mtime_ns: int
    size: int
    digest: str = ""
    failure: str = ""


class Indexed(msgspec.Struct, frozen=True):
    """A passage with what it is searched by: the keys (`words.key`) of its title's and its text's words, in order."""

    passage: Passage
    title_keys: str
    text_keys: str


def indexed(passage: Passage) -> Indexed:
    """`passage` with its keys."""
    return Indexed(passage, _keys(passage.title), _keys(passage.text))


def forms(passages: Sequence[Indexed]) -> dict[str, str]:
    """Every word of `passages` as it is written -> its key: what a misspelled word may have been meant to be."""
    found = (word for each in passages for word in words(f"{each.passage.title} {each.passage.text}"))
    return {word: key(word) for word in found if len(word) > 2 and not word.isdigit()}


def _keys(text: str) -> str:
    return " ".join(key(word) for word in words(text))


class Damaged(Exception):
    """What a store was kept in is no sound index any more, and was thrown away: it is to be filled again."""


class Store(Protocol):
    """Passages and their index. Blocking and thread safe. Raises BackendError where it cannot be used: INTERNAL, or
    SHUTDOWN after `close`; and `Damaged`."""

    def known(self) -> dict[str, Stamp]:
        """Every file, by its path."""
        ...

    def put(self, stamp: Stamp, passages: Sequence[Indexed]) -> None:
        """Write a file and its passages in place of what was there of it, all or nothing."""
        ...

    def touch(self, stamp: Stamp) -> None:
        """Remember a file's new time and size; its passages stay."""
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Forget files and their passages."""
        ...

    def version(self) -> int:
        """A number that is another one after every change, by whomever."""
        ...

    def search(self, keys: Sequence[str], limit: int) -> list[Hit]:
        """The `limit` best passages with any of `keys`, best first. Any string is safe."""
        ...

    def hits(self, numbers: Sequence[int]) -> list[Hit]:
        """The passages of these numbers that are there, in any order, with no score."""
        ...

    def frequencies(self, keys: Sequence[str]) -> tuple[int, list[int]]:
        """The number of all passages, and in how many of them each of `keys` stands."""
        ...

    def forms(self) -> dict[str, str]:
        """Words as they are written -> their keys; some may stand in no passage any more."""
        ...

    def without_vector(self, model: str) -> list[tuple[int, str]]:
        """(number, title and text) of passages that have no vector of `model`."""
        ...

    def put_vectors(self, model: str, rows: Sequence[tuple[int, bytes]]) -> None:
        """Keep (number, vector) for passages that are still there."""
        ...

    def vectors(self, model: str) -> list[tuple[int, bytes]]:
        """(number, vector) of all passages that have one of `model`."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...
