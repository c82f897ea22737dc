"""Words as retrieval compares them: how text is cut into them, which carry no meaning, which count as the same. Pure.

The index holds the keys of a passage's words, so what is found and how it is weighed rest on the same definition.
Stop words and endings are English; other languages work without them, a little less sharply.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_SUFFIX = re.compile(r"(?:ations?|(?<=\w{4})(?:ions?|ly)|ments?|[ai]ble|ings?|ed|es|s|e)$")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


SOCIAL = _set(
    """
    hello hi hey hiya greetings morning afternoon evening thanks thank thx ty cheers bye goodbye welcome ok okay yes
    yeah yep no nope sure great nice cool perfect awesome wonderful fine sorry please help helps helped helpful joke
    """
)
"""Words of politeness: a message of these and stop words asks for nothing that documents could answer."""

POINTING = _set(
    "it its that this those these they them their one ones same there then and also but or else instead too he she"
)
"""Words that point back at what was said before: a question that leans on them needs the previous question."""

STOP = (
    SOCIAL
    | POINTING
    | _set(
        """
        a an the i me my mine we us our ours you your yours him his her hers who whom whose which what when where why
        how is am are was were be been being do does did doing done have has had having can could may might must shall
        should will would not nor of in on at by for from to into onto with without within about as if than so such any
        some all each every both either neither only just very more most much many few other another own out up down
        off over under again once here now while during before after until because through against between get gets got
        getting give gives let lets make makes made go goes going want wants need needs know tell say says said ask
        long take takes taking took happen happens happening use uses using used come comes came put see show work works
        possible way ways anything something allow allowed please like
        im ive id ill youre dont doesnt didnt cant couldnt wont isnt arent wasnt thats whats hows
        s t d ll m re ve don doesn didn couldn won isn aren wasn shouldn wouldn haven hasn
        """
    )
)
"""Words that never match."""


def words(text: str) -> list[str]:
    """The words of `text` in order: case folded, without diacritics, underscore and punctuation dropped.

    Contractions fall apart as in SQLite's unicode61 tokenizer (``don't`` -> ``don``, ``t``).
    """
    folded = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(character for character in folded if not unicodedata.combining(character)))


def content_words(text: str) -> list[str]:
    """The words of `text` that can find something: no stop words, no single ASCII letters or digits; no repeats."""
    found = (word for word in words(text) if word not in STOP and (len(word) > 1 or not word.isascii()))
    return list(dict.fromkeys(found))


@lru_cache(maxsize=65_536)
def key(word: str) -> str:
    """What two forms of a word have in common: ``cancelled``, ``cancellation`` and ``cancel`` -> ``cancel``.

    A light stemmer: it takes English endings off, as many as there are, and coarsely on purpose.
    """
    if word.isdigit() or len(word) <= 3:
        return word
    stem = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    while len(shorter := _SUFFIX.sub("", stem)) >= 3 and shorter != stem:
        stem = shorter
    if stem.endswith("i"):
        stem = stem[:-1] + "y"
    if len(stem) > 3 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem
