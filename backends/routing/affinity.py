"""The decision: which replica of one backend gets a request, so that a conversation stays where its prefix is. Pure."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

from backends.backend import ChatRequest

MAX_KNOWN = 100_000
"""Conversations whose replica is remembered; of those beyond, the least recently used are forgotten."""


def conversation(request: ChatRequest) -> str:
    """What all requests of one conversation have in common, hashed: whose it is, and how it begins.

    That is everything up to the first user message, which later turns only append to.
    """
    digest = hashlib.blake2b(digest_size=16)
    parts = [request.partition, request.model or ""]
    for message in request.messages:
        parts += [message.role, message.content]
        if message.role == "user":
            break
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def ranked(conversation: str, home: str | None, load: Mapping[str, int]) -> list[str]:
    """The replicas of `load` (requests that each has), the best one for `conversation` first.

    That is its `home`, which answered it last, while it is there. Next comes who has least to do; among equals the
    order is rendezvous hashing's (Thaler and Ravishankar, 1998), so that everybody who decides without a memory decides
    the same, and a replica that goes takes nobody else's conversations with it.
    """
    return sorted(load, key=lambda replica: (replica != home, load[replica], _weight(conversation, replica)))


def _weight(conversation: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{conversation} {replica}".encode(), digest_size=8).digest()


class Homes:
    """Which replica answered each conversation last."""

    def __init__(self, limit: int = MAX_KNOWN) -> None:
        self._limit = limit
        self._known: OrderedDict[str, str] = OrderedDict()

    def of(self, conversation: str) -> str | None:
        """Its replica; None for one that is new, or was forgotten."""
        return self._known.get(conversation)

    def note(self, conversation: str, replica: str) -> None:
        """`replica` answers it now."""
        self._known[conversation] = replica
        self._known.move_to_end(conversation)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
