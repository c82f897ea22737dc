"""From a JSON schema to the GBNF grammar of the texts that it admits, within bounds: a schema may come from anybody.

Ranges of numbers (`minimum`, `multipleOf`, ...) and other keywords that the converter does not know are not enforced.
"""

from __future__ import annotations

from typing import Any

from backends.engine.schema_converter import converted
from backends.errors import BackendError, Code

MAX_DEPTH = 32
MAX_NODES = 2_000
MAX_PROPERTIES = 200
MAX_REPEATED = 2_000
MAX_PATTERN = 200
MAX_GRAMMAR = 1 << 18
"""Levels and values of a schema, properties of an object, items of an array or characters of a string as far as they
are counted (llama.cpp's limit), characters of a pattern, and of the grammar that comes out."""

_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")


def to_gbnf(schema: dict[str, Any]) -> str:
    """The grammar. Raises BackendError (BAD_REQUEST) that names the place in `schema` as a JSON pointer."""
    _Bounds().check(schema, "", 0)
    try:
        grammar = converted(schema)
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _refused("", str(error) or "it cannot be turned into a grammar") from None
    if len(grammar) > MAX_GRAMMAR:
        raise _refused("", f"its grammar has {len(grammar):,} characters, at most {MAX_GRAMMAR:,} are taken")
    return grammar


class _Bounds:
    """Counts the values of a schema on the way through it."""

    def __init__(self) -> None:
        self._nodes = 0

    def check(self, node: Any, at: str, depth: int) -> None:
        """Raises BackendError for what is too large, or would be looked for elsewhere."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _refused(at, f"more than {MAX_NODES:,} values in all")
        if depth > MAX_DEPTH:
            raise _refused(at, f"deeper than {MAX_DEPTH} levels")
        if isinstance(node, list):
            for index, item in enumerate(node):
                self.check(item, f"{at}/{index}", depth + 1)
        elif isinstance(node, dict):
            self._check_keywords(node, at)
            for key, value in node.items():
                self.check(value, f"{at}/{key.replace('~', '~0').replace('/', '~1')}", depth + 1)

    def _check_keywords(self, node: dict[str, Any], at: str) -> None:
        reference = node.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#/"):
            raise _refused(f"{at}/$ref", f"{reference!r} is not in this schema (#/...), and nothing is fetched")
        if len(node) > MAX_PROPERTIES:
            raise _refused(at, f"{len(node)} entries, at most {MAX_PROPERTIES} are taken")
        if isinstance(pattern := node.get("pattern"), str) and len(pattern) > MAX_PATTERN:
            raise _refused(f"{at}/pattern", f"{len(pattern)} characters, at most {MAX_PATTERN} are taken")
        for name in _COUNTS:
            value = node.get(name, 0)
            if isinstance(value, int | float) and not 0 <= value <= MAX_REPEATED:
                raise _refused(f"{at}/{name}", f"{value} is not between 0 and {MAX_REPEATED:,}")


def _refused(at: str, what: str) -> BackendError:
    place = f" at {at}" if at else ""
    return BackendError(Code.BAD_REQUEST, f"json_schema{place}: {what}")
