"""Where a link leads: to what is known to be safe, and not elsewhere than its text says."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from rich.style import Style

_SAFE = re.compile(r"(?:https?://|mailto:)[\x21-\x7e]{1,2000}", re.IGNORECASE)
_HOST = re.compile(
    r"(?:https?://|mailto:|[^\s/@]+@)?((?:[\w-]+\.)+([^\W\d_]{2,}|xn--[\w-]+))(?::\d+)?(?:[/?#]\S*)?", re.I
)
_PLAIN_ADDRESS = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_DOMAINS = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "app",
        "dev",
        "online",
        "site",
        "shop",
        "store",
        "cloud",
        "bank",
    ]
)
_SUFFIXES = frozenset(
    [
        "js",
        "py",
        "md",
        "rs",
        "sh",
        "ts",
        "go",
        "rb",
        "pl",
        "vb",
        "cs",
        "so",
        "gz",
        "db",
        "ml",
        "tf",
        "cc",
        "hs",
        "kt",
        "ps",
    ]
)
_SHOWN = 60


@lru_cache(maxsize=256)
def linked(target: str) -> Style:
    """An OSC 8 link to `target`; nothing where its scheme is not known to be safe."""
    return Style(link=target) if _SAFE.fullmatch(target) else Style.null()


def real_target(text: str, target: str) -> str:
    """What has to be shown beside a link's `text`, which names another host than `target` leads to; else "".

    So has an address with a name before its host (``https://bank.com@evil.com``), which reads like another.
    """
    if not _SAFE.fullmatch(target):
        return ""
    host = _host(target)
    if "@" in target.split("://")[-1].split("/")[0] and not target.lower().startswith("mailto:"):
        return host
    for claimed in _claimed(text):
        if host != claimed and not host.endswith(f".{claimed}"):
            return target if len(target) <= _SHOWN else target[: _SHOWN - 1] + "…"
    return ""


def _host(target: str) -> str:
    if target.lower().startswith("mailto:"):
        return target.partition("?")[0].rpartition("@")[2].lower()
    try:
        return (urlsplit(target).hostname or "").removeprefix("www.")
    except ValueError:  # brackets that hold no address
        return ""


def _claimed(text: str) -> list[str]:
    """The hosts that a text names: all in addresses, else what looks like one and like no file's name."""
    words = _PLAIN_ADDRESS.findall(text) or text.split()
    found = [match for word in words if (match := _HOST.fullmatch(word.strip("()<>[]{}\"'.,;:!?*"))) is not None]
    return [
        match.group(1).lower().removeprefix("www.")
        for match in found
        if (last := match.group(2).lower()) in _DOMAINS
        or (len(last) == 2 and last not in _SUFFIXES)
        or _PLAIN_ADDRESS.match(match.group())
        or not last.isascii()
    ]
