"""The index of a set of documents, kept in a `Store` and brought up to date file by file.

A changed file is known by its modification time and size, and by its hash where these moved. Each file is written by
itself: a crash loses at most the one that was being written, and the next refresh goes on from there. A document that
cannot be read is remembered with the reason, and not tried again before it changes. Blocking and thread safe; call it
from a worker thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from backends.errors import BackendError, Code
from backends.rag import chunk, load
from backends.rag.extract import Extractor
from backends.rag.meaning import EmbeddingModel, Meaning, alike
from backends.rag.query import Query
from backends.rag.sections import Unreadable
from backends.rag.spelling import meant
from backends.rag.sqlite_store import SqliteStore
from backends.rag.store import Damaged, Hit, Stamp, Store, indexed
from backends.rag.tokens import CountTokens, estimate_tokens

if TYPE_CHECKING:
    from backends.rag.meaning import Rows

logger = logging.getLogger(__name__)

_SETTLED_NS = 2_000_000_000
_EMBEDDED_AT_ONCE = 32

T = TypeVar("T")


class Failure(msgspec.Struct, frozen=True):
    """A document that is not in the index, and why."""

    name: str
    reason: str


class Changes(msgspec.Struct, frozen=True):
    """What a refresh did, in files; and every document that could not be read, now or before."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    failures: tuple[Failure, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Progress(msgspec.Struct, frozen=True):
    """How far a refresh is: `done` of `total` in `what` ("files", "passages" to be embedded), and the name it is at."""

    what: str
    done: int
    total: int
    name: str = ""


Tell = Callable[[Progress], None]


class Index:
    """The index of `documents` (folders and single files) in `store`: a Store, a file, or None for memory.

    `model`, if any, makes vectors of the passages; `count_tokens` bounds their size. All methods raise BackendError:
    NOT_FOUND for documents that are not there, SHUTDOWN after `close`, INTERNAL where the store cannot be used. The
    index owns its store.
    """

    def __init__(
        self,
        documents: Sequence[Path],
        store: Store | Path | None = None,
        model: EmbeddingModel | None = None,
        count_tokens: CountTokens = estimate_tokens,
    ) -> None:
        self._documents = tuple(documents)
        self._store: Store = SqliteStore(store) if store is None or isinstance(store, Path) else store
        self._meaning = Meaning(model) if model is not None else None
        self._count_tokens = count_tokens
        self._refreshing = threading.Lock()
        self._caching = threading.Lock()
        self._closing = threading.Event()
        self._extractor: Extractor | None = None
        self._forms: tuple[int, dict[str, str]] = (-1, {})
        self._vectors: tuple[int, list[int], Rows, float] | None = None

    def refresh(self, tell: Tell = lambda progress: None) -> Changes:
        """Bring the index up to date with the disk; who comes meanwhile waits. Without changes nothing is written."""
        with self._refreshing:
            files = load.find(self._documents)
            changes = self._sound(lambda: self._refresh(files, tell))
            self._embed(tell)
        if self._meaning is not None:
            self._matrix(self._meaning)  # so that the first query does not wait for the model
        return changes

    def search(self, keys: Sequence[str], limit: int) -> list[Hit]:
        """The `limit` best passages with any of `keys` (of words, `words.key`), best first. Any string is safe."""
        return self._sound(lambda: self._store.search(keys, limit), repair=True)

    def frequencies(self, keys: Sequence[str]) -> tuple[int, list[int]]:
        """The number of all passages, and in how many of them each of `keys` stands."""
        return self._sound(lambda: self._store.frequencies(keys), repair=True)

    def similar(self, word: str, others: Sequence[str] = (), limit: int = 3) -> list[str]:
        """Words in the documents or among `others` that `word` begins, or that it may be a misspelling of."""
        return meant(word, [*self._known_forms(), *others], limit)

    def nearest(self, query: Query, limit: int) -> dict[int, float]:
        """Passages by what they mean: number -> similarity (0 to 1), the `limit` most similar first, without those
        that have nothing to do with `query`. Empty where there is no embedding model."""
        if self._meaning is None or limit < 1:
            return {}
        numbers, matrix, floor = self._matrix(self._meaning)
        if not numbers:
            return {}
        cosines = matrix @ self._meaning.of_query(query)
        best = (-cosines).argsort(kind="stable")[:limit]
        similarities = {numbers[row]: alike(float(cosines[row]), floor) for row in best}
        return {number: similarity for number, similarity in similarities.items() if similarity > 0.0}

    def hits(self, numbers: Sequence[int]) -> list[Hit]:
        """The passages of these numbers, in any order, with no score."""
        return self._sound(lambda: self._store.hits(numbers), repair=True)

    def close(self) -> None:
        """Release everything; a refresh in progress stops at the document that it is at."""
        self._closing.set()
        if (extractor := self._extractor) is not None:
            extractor.close()
        self._store.close()
        if self._meaning is not None:
            self._meaning.close()

    def _sound(self, work: Callable[[], T], *, repair: bool = False) -> T:
        """`work` on the store; where that turns out to be damaged, on a new one: with `repair` filled again first."""
        try:
            return work()
        except Damaged:
            if repair:
                self.refresh()
            return work()

    # --- refreshing -------------------------------------------------------------------------------------------

    def _refresh(self, files: Sequence[load.File], tell: Tell) -> Changes:
        known = self._store.known()
        gone = known.keys() - {str(file.path) for file in files}
        if gone:
            self._store.remove(sorted(gone))
        changed = [file for file in files if not _same(known.get(str(file.path)), file)]
        counts: Counter[str] = Counter()
        if changed:
            with Extractor() as self._extractor:
                for i, file in enumerate(changed):
                    self._check_open()
                    tell(Progress("files", i, len(changed), file.name))
                    counts[self._read(self._extractor, file, known.get(str(file.path)))] += 1
            tell(Progress("files", len(changed), len(changed)))
        changes = Changes(counts["added"], counts["changed"], len(gone), self._failures())
        if changes:
            logger.info("document index: %d added, %d changed, %d removed", changes.added, changes.changed, len(gone))
        return changes

    def _read(self, extractor: Extractor, file: load.File, before: Stamp | None) -> str:
        """Bring one file up to date. Returns what that was for it: "added", "changed" or "touched"."""
        passages: list[chunk.Passage] = []
        digest = failure = ""
        try:
            data = load.read(file)
            digest = load.digest(data)
            if before is not None and (before.name, before.digest) == (file.name, digest):
                self._store.touch(_stamp(file, digest))
                return "touched"
            passages = chunk.cut(extractor.sections(file.format, data, file.name), self._count_tokens)
        except Unreadable as error:
            self._check_open()  # it may be unreadable because we are being closed
            failure = str(error)
            digest = digest if error.lasting else ""
            logger.warning("document %s skipped: %s", file.path, failure)
        stamp = msgspec.structs.replace(_stamp(file, digest), failure=failure)
        self._store.put(stamp, [indexed(passage) for passage in passages])
        return "added" if before is None else "changed"

    def _failures(self) -> tuple[Failure, ...]:
        known = sorted(self._store.known().values(), key=lambda stamp: stamp.name)
        return tuple(Failure(stamp.name, stamp.failure) for stamp in known if stamp.failure)

    def _embed(self, tell: Tell) -> None:
        """Give a vector to every passage that has none yet."""
        if self._meaning is None:
            return
        name = self._meaning.model.name
        waiting = self._store.without_vector(name)
        total = len(waiting)
        for start in range(0, total, _EMBEDDED_AT_ONCE):
            self._check_open()
            tell(Progress("passages", start, total))
            batch = waiting[start : start + _EMBEDDED_AT_ONCE]
            rows = self._meaning.of_passages([text for _, text in batch]).astype("<f2")
            numbers = [number for number, _ in batch]
            self._store.put_vectors(name, [(each, row.tobytes()) for each, row in zip(numbers, rows, strict=True)])
        if total:
            tell(Progress("passages", total, total))

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise BackendError(Code.SHUTDOWN, "the document index is closed")

    # --- what is kept in memory between queries -----------------------------------------------------------------

    def _known_forms(self) -> dict[str, str]:
        version = self._sound(self._store.version, repair=True)
        with self._caching:
            if self._forms[0] != version:
                self._forms = version, self._store.forms()
            return self._forms[1]

    def _matrix(self, meaning: Meaning) -> tuple[list[int], Rows, float]:
        """The numbers of all passages with a vector, their vectors, one a row, and the floor of what they are like."""
        import numpy as np

        version = self._sound(self._store.version, repair=True)
        with self._caching:
            if self._vectors is None or self._vectors[0] != version:
                rows = self._store.vectors(meaning.model.name)
                packed = np.frombuffer(b"".join(vector for _, vector in rows), "<f2")
                matrix = packed.reshape(len(rows), -1).astype(np.float32) if rows else np.zeros((0, 0), np.float32)
                floor = meaning.floor(matrix) if rows else 0.0
                self._vectors = version, [number for number, _ in rows], matrix, floor
            return self._vectors[1:]


def _same(before: Stamp | None, file: load.File) -> bool:
    return before is not None and (before.name, before.mtime_ns, before.size) == (file.name, file.mtime_ns, file.size)


def _stamp(file: load.File, digest: str) -> Stamp:
    """How a file is recognised as unchanged. One that was written just now may be written again within the same tick
    of its clock, so its time is not trusted yet: it is read again next time. So is one without a digest."""
    settled = digest and abs(time.time_ns() - file.mtime_ns) > _SETTLED_NS
    return Stamp(str(file.path), file.name, file.mtime_ns if settled else 0, file.size, digest)
