"""Whole states of sequences, kept for prompts that go on exactly where one of them ended. Pure: no llama.cpp here.

Recurrent and hybrid models (Mamba, Jamba, LFM2, ...) hold a sequence as one state that has swallowed all its tokens: no
part of it can be dropped or shared. Of models with sliding windows (Gemma, gpt-oss, ...) only the end of a sequence is
certain to be there for all layers. What can be done is to go on from a copy. Copies are made where prompts are likely
to go on: at the end of a prompt (the next turn's begins with it) and at the end of an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from backends.engine.prefix_cache import WIDTH


class Checkpoint(NamedTuple):
    """The state behind `tokens` tokens, which are what it is found by, within its partition only."""

    tokens: int
    state: Any


class Checkpoints:
    """Copies of states, as many as fit `limit` bytes; the least recently used go first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[tuple[str, bytes], Checkpoint] = OrderedDict()
        self._draft: tuple[str, bytes] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, partition: str, packed: bytes) -> bool:
        """Whether there is a state behind exactly the packed tokens."""
        return (partition, packed) in self._kept

    def find(self, partition: str, packed: bytes) -> Checkpoint | None:
        """The longest one that the packed tokens begin with."""
        found = [key for key in self._kept if key[0] == partition and packed.startswith(key[1])]
        if not found:
            return None
        best = max(found, key=lambda key: len(key[1]))
        self._kept.move_to_end(best)
        return self._kept[best]

    def add(self, partition: str, packed: bytes, state: Any, draft: bool = False) -> None:
        """Keep `state`, which has `nbytes`, if it fits. A `draft` takes the place of the last one."""
        if draft and self._draft is not None:
            self._remove(self._draft)
        self._remove((partition, packed))
        if state.nbytes > self.limit:
            return
        while self.bytes + state.nbytes > self.limit:
            self._remove(next(iter(self._kept)))
        self._kept[partition, packed] = Checkpoint(len(packed) // WIDTH, state)
        self.bytes += state.nbytes
        self._draft = (partition, packed) if draft else self._draft

    def _remove(self, key: tuple[str, bytes]) -> None:
        if kept := self._kept.pop(key, None):
            self.bytes -= kept.state.nbytes
