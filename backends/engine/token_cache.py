"""The tokens of texts that were tokenized before: the turns of a conversation come again, word for word."""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

Tokenize: TypeAlias = Callable[[str, bool, bool], list[int]]
"""`tokenize(text, special, inner)`, as `Runner.tokenize`."""

MAX_BYTES = 8 << 20
"""What texts and tokens may take; a full context of 128k tokens is about 1 MiB."""

ENTRY_BYTES = 512
"""What an entry takes besides them, about."""


class _Key(NamedTuple):
    text: str
    special: bool
    inner: bool
    partition: str


class TokenCache:
    """`tokenize`, remembering; the least recently used texts are forgotten beyond `limit` bytes. From any thread.

    What is known in one `partition` is not in another, where the time that a text takes would tell that it was there.
    """

    def __init__(self, tokenize: Tokenize, limit: int = MAX_BYTES) -> None:
        self._tokenize = tokenize
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, array[int]] = OrderedDict()
        self.bytes = 0

    def __call__(self, text: str, special: bool, inner: bool = False, *, partition: str = "") -> list[int]:
        """What `tokenize` returns. Raises what it raises."""
        key = _Key(text, special, inner, partition)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known.tolist()
        tokens = self._tokenize(text, special, inner)
        with self._lock:
            self._keep(key, array("i", tokens))
        return tokens

    def _keep(self, key: _Key, tokens: array[int]) -> None:
        if key in self._known or _size(key, tokens) > self._limit:
            return
        self._known[key] = tokens
        self.bytes += _size(key, tokens)
        while self.bytes > self._limit:
            self.bytes -= _size(*self._known.popitem(last=False))


def _size(key: _Key, tokens: array[int]) -> int:
    """Bytes of an entry; a character counts four, the most that it can take."""
    return 4 * len(key.text) + tokens.itemsize * len(tokens) + ENTRY_BYTES
