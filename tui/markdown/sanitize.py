"""Untrusted text made safe for a terminal, before anything else looks at it.

Whatever a model, a source, a server's error or a file name contains, what is drawn holds no control character and no
escape sequence, and nothing invisible that could reorder or hide text. The mapping is per character (only ``\\r\\n``
spans two), so sanitizing a text in pieces gives the sanitized text; see `hold` for the one exception.
"""

from __future__ import annotations

import re

_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)}
"""C0 controls become Unicode's control pictures: ESC is drawn as ␛, so a person sees that it was there."""

_INVISIBLE = (
    *range(0x80, 0xA0),  # C1 controls: some terminals read U+009B as the start of an escape sequence
    0x061C,  # Arabic letter mark
    0x180E,
    0x200B,  # zero-width space
    0x200E,
    0x200F,
    *range(0x202A, 0x202F),  # bidi embeddings and overrides
    *range(0x2060, 0x2070),  # word joiner, invisible operators, bidi isolates, deprecated format characters
    0xFEFF,
    *range(0xFFF9, 0xFFFC),  # interlinear annotation
    *range(0xE0000, 0xE0080),  # tag characters, which can smuggle text nobody sees
)

_TABLE: dict[int, int | str] = {
    **_PICTURES,
    0x7F: 0x2421,
    0x0D: "\n",
    0x2028: "\n",
    0x2029: "\n",
    **{code: f"‹U+{code:04X}›" for code in _INVISIBLE},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # a lone surrogate cannot be encoded
}

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def scrub(text: str) -> str:
    """`text` without control characters, escape sequences or hidden direction marks; ``\\n`` and ``\\t`` stay."""
    if _UNSAFE.search(text) is None:
        return text
    return text.replace("\r\n", "\n").translate(_TABLE)


def sanitize(text: str) -> str:
    """`scrub` with each tab as four spaces: what may be drawn. Idempotent."""
    return scrub(text).replace("\t", "    ")


def hold(text: str) -> tuple[str, str]:
    """Splits a streamed piece into what can be scrubbed now and a last ``\\r`` that waits for a possible ``\\n``."""
    return (text[:-1], "\r") if text.endswith("\r") else (text, "")
