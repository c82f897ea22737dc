"""GBNF grammars looked over before llama.cpp reads them: it gives no reasons, and has no limits.

The notation is that of llama.cpp's grammars/README.md. What is checked is what ends the process there (depth), and what
a person gets wrong: the mistake is named with its line. What is left is llama.cpp's to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from backends.errors import BackendError, Code

MAX_SIZE = 1 << 16
MAX_DEPTH = 64
"""Characters of a grammar that somebody wrote, and how deep its parentheses may go."""

ROOT = "root"
"""The rule that an answer follows."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<rule>[A-Za-z0-9-]+(?=\s*::=))\s*::=
      | (?P<name>[A-Za-z0-9-]+)
      | (?P<literal>"(?:[^"\\\n]|\\.)*")
      | (?P<class>\[(?:[^\]\\\n]|\\.)*\])
      | (?P<token>!?<[^>\s]*>)
      | (?P<open>\() | (?P<close>\))
      | (?P<repeat>[*+?]|\{\s*\d+\s*(?:,\s*\d*\s*)?\})
      | (?P<other>[|.])""",
    re.VERBOSE,
)


class _Symbol(NamedTuple):
    kind: str
    text: str
    at: int


def check(source: str) -> None:
    """Raises BackendError (BAD_REQUEST) with the line of the first mistake."""
    if len(source) > MAX_SIZE:
        raise refused(f"it has {len(source):,} characters, at most {MAX_SIZE:,} are taken")
    if "\0" in source:
        raise refused("it has a NUL character")
    rules, named = set[str](), dict[str, int]()
    depth, opened, before = 0, 0, ""
    for symbol in _symbols(source):
        if symbol.kind == "repeat" and before in ("", "rule", "open"):
            raise _mistake(source, symbol.at, f"nothing stands before {symbol.text!r}")
        if symbol.kind == "rule":
            if depth:
                raise _mistake(source, opened, "this parenthesis is never closed")
            rules.add(symbol.text)
        elif before == "":
            raise _mistake(source, symbol.at, 'a grammar begins with a rule: root ::= "..."')
        elif symbol.kind == "name":
            named.setdefault(symbol.text, symbol.at)
        elif symbol.kind == "open":
            opened = opened if depth else symbol.at
            depth += 1
        elif symbol.kind == "close":
            depth -= 1
        if depth < 0:
            raise _mistake(source, symbol.at, "this parenthesis was never opened")
        if depth > MAX_DEPTH:
            raise _mistake(source, symbol.at, f"parentheses go deeper than {MAX_DEPTH}")
        before = symbol.kind
    if depth:
        raise _mistake(source, opened, "this parenthesis is never closed")
    if ROOT not in rules:
        raise refused(f"it has no rule {ROOT!r}")
    for name, at in named.items():
        if name not in rules:
            raise _mistake(source, at, f"there is no rule {name!r}")


def _symbols(source: str) -> Iterator[_Symbol]:
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _mistake(source, at, f"{source[at : at + 12].splitlines()[0]!r} is not understood")
        kind = match.lastgroup or ""
        if kind != "space":
            yield _Symbol(kind, match[kind], at)
        at = match.end()


def _mistake(source: str, at: int, what: str) -> BackendError:
    line, column = source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)
    return refused(f"line {line}, column {column}: {what}")


def refused(what: str) -> BackendError:
    """BAD_REQUEST for a grammar."""
    return BackendError(Code.BAD_REQUEST, f"grammar: {what}")
