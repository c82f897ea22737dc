"""Fingerprints of prompts: enough to find where two of them part, and nothing of what they say. Pure.

A prefix cache reuses a prompt up to its first character that differs. Of every message its role, its length, and two
bytes for every so many characters are kept: the lower half of the CRC-32 of the text from the message's beginning to
there. So marks are alike up to the block in which two texts part, and differ behind it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from backends.backend import Message, Role

BLOCK = 16
"""Characters from one mark to the next; doubled until a message needs no more than `MOST` marks."""

MOST = 1024
_MARK = 2


class MessagePrint(msgspec.Struct, frozen=True, array_like=True):
    """One message. `length` and `block` in characters, `marks` of two bytes each; the last is of the whole text."""

    role: Role
    length: int
    block: int
    marks: bytes


class Parting(msgspec.Struct, frozen=True):
    """Where a prompt parts from an earlier one: in message `number` (from 0) near its character `character`.

    `before`: characters of all messages up to there, of `total`.
    """

    number: int
    role: Role
    character: int
    before: int
    total: int


def fingerprint(messages: Sequence[Message]) -> tuple[MessagePrint, ...]:
    """The fingerprints of `messages`. Their sources are left out: they stay with their turn, verbatim."""
    return tuple(_print(message) for message in messages)


def _print(message: Message) -> MessagePrint:
    text = message.content
    block = BLOCK
    while len(text) > block * MOST:
        block *= 2
    marks = bytearray()
    crc = 0
    for start in range(0, len(text), block):
        crc = zlib.crc32(text[start : start + block].encode("utf-8", "surrogatepass"), crc)
        marks += (crc & 0xFFFF).to_bytes(_MARK, "big")
    return MessagePrint(message.role, len(text), block, bytes(marks))


def parting(earlier: Sequence[MessagePrint], later: Sequence[MessagePrint]) -> Parting | None:
    """Where `later` parts from `earlier`; None where it only goes on after it."""
    total = sum(message.length for message in later)
    before = 0
    for number, (old, new) in enumerate(zip(earlier, later, strict=False)):
        if old != new:
            at = 0 if old.role != new.role else _common(old, new)
            return Parting(number, new.role, at, before + at, total)
        before += new.length
    if len(later) < len(earlier):
        return Parting(len(later), earlier[len(later)].role, 0, before, total)
    return None


def _common(old: MessagePrint, new: MessagePrint) -> int:
    """How many characters both begin with, to the block."""
    block = max(old.block, new.block)
    common = 0
    for end in range(block, min(old.length, new.length) + 1, block):
        if _mark(old, end) != _mark(new, end):
            break
        common = end
    return common


def _mark(message: MessagePrint, end: int) -> bytes:
    at = (end // message.block - 1) * _MARK
    return message.marks[at : at + _MARK]
