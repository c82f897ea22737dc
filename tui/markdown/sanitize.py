"""Untrusted text made safe for a terminal, before anything else looks at it.

Whatever a model, a source, a server's error or a file name contains, what is drawn holds no control character and no
escape sequence, and nothing invisible that could reorder or hide text. The mapping is per character, but for ``\\r\\n``
(see `hold`) and for what is invisible but needed in its place, behind a character of its script: joiners within emoji
and within scripts that are written joined, variation selectors; and for the flags that are written with tag characters.
So sanitizing a text in pieces gives the same.
"""

from __future__ import annotations

import re
from unicodedata import category

_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)}
"""C0 controls become Unicode's control pictures: ESC is drawn as ␛, so a person sees that it was there."""

_INVISIBLE = (
    *range(0x80, 0xA0),  # C1 controls: some terminals read U+009B as the start of an escape sequence
    0x00AD,  # soft hyphen
    0x034F,  # combining grapheme joiner
    0x061C,  # Arabic letter mark
    *range(0x115F, 0x1161),  # Hangul fillers
    *range(0x17B4, 0x17B6),
    0x180E,
    0x200B,  # zero-width space
    0x200E,
    0x200F,
    *range(0x202A, 0x202F),  # bidi embeddings and overrides
    *range(0x2060, 0x2070),  # word joiner, invisible operators, bidi isolates, deprecated format characters
    0x3164,
    0xFEFF,
    0xFFA0,
    *range(0xFFF0, 0xFFFC),  # interlinear annotation
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0100),  # tag characters, which can smuggle text nobody sees
    *range(0xE01F0, 0xE1000),
)

_CONTEXTUAL = "\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"

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
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    f"\U000e0000-\U000e0fff{_CONTEXTUAL}]"
)
_IN_CONTEXT = re.compile(f"[{_CONTEXTUAL}]")
_JOINING = re.compile(
    "[\u0600-\u0dff\u0f00-\u109f\u1780-\u17ff\u1820-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff]"
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


_FLAGS = tuple(
    f"🏴{''.join(chr(0xE0000 + ord(char)) for char in region)}\U000e007f" for region in ("gbeng", "gbsct", "gbwls")
)
"""The flags of subdivisions that there are (unicode.org/emoji, emoji-sequences.txt): no other text hides in them."""
_FLAG = re.compile("|".join(_FLAGS))


def scrub(text: str, before: str = "") -> str:
    """`text` without control characters, escape sequences or hidden direction marks; ``\\n`` and ``\\t`` stay.

    `before` is the character that stands before it, scrubbed.
    """
    if _UNSAFE.search(text) is None:
        return text
    pieces: list[str] = []
    at = 0
    for flag in _FLAG.finditer(text):
        pieces += _scrubbed(text[at : flag.start()], pieces[-1][-1] if pieces else before), flag.group()
        at = flag.end()
    return "".join([*pieces, _scrubbed(text[at:], pieces[-1][-1] if pieces else before)])


def _scrubbed(text: str, before: str) -> str:
    """`text`, in which there is no flag."""
    text = text.replace("\r\n", "\n").translate(_TABLE)
    return _without_strays(text, before) if _IN_CONTEXT.search(text) else text


def _without_strays(text: str, before: str) -> str:
    """`text` with what belongs to nothing before it made visible."""
    pieces: list[str] = []
    done = 0
    for match in _IN_CONTEXT.finditer(text):
        at, char = match.start(), match.group()
        if at > done:
            pieces.append(text[done:at])
        base = pieces[-1][-1] if pieces else before
        pieces.append(char if base and _belongs(char, base) else f"‹U+{ord(char):04X}›")
        done = at + 1
    return "".join([*pieces, text[done:]])


def _belongs(char: str, base: str) -> bool:
    """Whether an invisible character means something behind `base`."""
    code, kind = ord(char), category(base)
    if char in "\u200c\u200d" and _JOINING.match(base):
        return kind[0] in "LM"
    if char == "\u200d":  # within an emoji: behind a picture, a skin tone, or the selector of one
        return kind in ("So", "Sk") or base == "\ufe0f"
    if char in "\ufe0e\ufe0f":  # a keycap, a picture, an arrow
        return base in "0123456789#*‼⁉〰" or kind in ("So", "Sm", "Sk")
    if code < 0x1900:
        return "\u1820" <= base < "\u18b0"
    return _IDEOGRAPH.match(base) is not None or (code < 0xE0000 and kind == "Sm")


def sanitize(text: str) -> str:
    """`scrub` with each tab as four spaces: what may be drawn. Idempotent."""
    return spaced(scrub(text))


def spaced(text: str) -> str:
    """Each tab as four spaces."""
    return text.replace("\t", "    ")


def hold(text: str) -> tuple[str, str]:
    """Splits a streamed piece into what can be scrubbed now and an end that waits for what may follow.

    That is ``\\r``, behind which ``\\n`` may come, or the beginning of a flag.
    """
    at = len(text) - 1 if text.endswith("\r") else text.rfind("🏴", -len(_FLAGS[0]) + 1)
    waits = at >= 0 and (text[at] == "\r" or any(flag.startswith(text[at:]) for flag in _FLAGS))
    return (text[:at], text[at:]) if waits else (text, "")
