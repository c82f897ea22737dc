"""When the chunks of an answer arrived, packed for the store: about two bytes a chunk.

For each chunk one number: the time since the one before it (the first: since Enter) in ticks of 10 µs, times two, plus
one if the chunk holds another number of tokens than one; that number follows then. Numbers are unsigned LEB128: seven
bits a byte, the lowest first, the highest bit set in all bytes but the last.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

TICKS_PER_MS = 100


def pack(times: Iterable[float], counts: Iterable[int]) -> bytes:
    """`times` in milliseconds since Enter, never falling, and the number of tokens in each chunk."""
    packed = bytearray()
    append = packed.append
    last = 0
    for at, count in zip(times, counts, strict=True):
        tick = max(last, round(at * TICKS_PER_MS))
        value = (tick - last) << 1 | (count != 1)
        last = tick
        while value > 0x7F:
            append(value & 0x7F | 0x80)
            value >>= 7
        append(value)
        if count != 1:
            while count > 0x7F:
                append(count & 0x7F | 0x80)
                count >>= 7
            append(count)
    return bytes(packed)


def unpack(packed: bytes) -> tuple[array[float], array[int]]:
    """What `pack` was given: times to 5 µs. A number that breaks off at the end is left out."""
    times, counts = array("d"), array("H")
    tick = value = shift = 0
    is_count = False
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            continue
        if is_count:
            counts.append(min(value, 0xFFFF))
            is_count = False
        else:
            tick += value >> 1
            times.append(tick / TICKS_PER_MS)
            is_count = bool(value & 1)
            if not is_count:
                counts.append(1)
        value = shift = 0
    return times[: len(counts)], counts
