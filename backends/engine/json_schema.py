"""From a JSON schema to the GBNF grammar of the texts that it admits, with llama-cpp-python's converter.

Corrected here: strings admit no raw control characters, literals may hold quotes and backslashes, a reference never
meets a property of its name, repetitions stay repetitions. Bounded before: a schema may come from anybody. Ranges of
numbers (`minimum`, `multipleOf`, ...) and other keywords that the converter does not know are not enforced.
"""

from __future__ import annotations

import json
from typing import Any

from backends.engine.gbnf import ROOT
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
_CHAR = r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'


def to_gbnf(schema: dict[str, Any]) -> str:
    """The grammar. Raises BackendError (BAD_REQUEST) that names the place in `schema` as a JSON pointer."""
    _Bounds().check(schema, "", 0)
    try:
        grammar = _convert(schema)
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


def _convert(schema: dict[str, Any]) -> str:
    from llama_cpp.llama_grammar import SchemaConverter

    class Converter(SchemaConverter):  # type: ignore[misc]
        """The shipped one, where it is wrong or too generous put right."""

        def __init__(self) -> None:
            super().__init__(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
            self._names: dict[str, str] = {}

        def _format_literal(self, literal: str) -> str:
            """`literal` is a value as JSON, as the converter calls it."""
            text = json.dumps(json.loads(literal), ensure_ascii=False)
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        def _resolve_ref(self, ref: str) -> str:
            if ref not in self._names:
                name = self._names[ref] = f"ref-{len(self._names)}"
                rule = self.visit(self._refs[ref], name)
                if rule != name:
                    self._add_rule(name, rule)
            return self._names[ref]

        def visit(self, schema: dict[str, Any], name: str) -> str:
            """The name of the rule for `schema`."""
            kind, plain = schema.get("type"), not {"$ref", "oneOf", "anyOf", "const", "enum"} & schema.keys()
            if plain and kind == "string" and {"minLength", "maxLength"} & schema.keys() and "pattern" not in schema:
                self._add_primitive("char", _builtin("char"))
                times = _times(schema.get("minLength", 0), schema.get("maxLength"))
                return str(self._add_rule(name or ROOT, rf'"\"" char{times} "\"" space'))
            if plain and kind == "array" and isinstance(schema.get("items"), dict):
                least, most = schema.get("minItems", 0), schema.get("maxItems")
                if most == 0:
                    return str(self._add_rule(name or ROOT, '"[" space "]" space'))
                item = self.visit(schema["items"], f"{name}-item" if name else "item")
                further = _times(max(0, least - 1), None if most is None else most - 1)
                optional = "" if least else "?"
                items = f'({item} ("," space {item}){further}){optional}'
                return str(self._add_rule(name or ROOT, f'"[" space {items} "]" space'))
            return str(super().visit(schema, name))

        def format_grammar(self) -> str:
            """The rules as GBNF."""
            for rule in ("char", "dot"):
                if rule in self._rules:
                    self._rules[rule] = _CHAR
            return str(super().format_grammar())

    converter = Converter()
    copied = converter.resolve_refs(json.loads(json.dumps(schema)), "")
    root = converter.visit(copied, "")
    if root != ROOT:
        converter._add_rule(ROOT, root)
    return converter.format_grammar()


def _builtin(name: str) -> Any:
    from llama_cpp.llama_grammar import PRIMITIVE_RULES

    return PRIMITIVE_RULES[name]


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def _refused(at: str, what: str) -> BackendError:
    place = f" at {at}" if at else ""
    return BackendError(Code.BAD_REQUEST, f"json_schema{place}: {what}")
