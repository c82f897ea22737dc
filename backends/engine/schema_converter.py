"""llama-cpp-python's converter from JSON schemas to GBNF, where it is wrong or too generous put right.

Strings admit no raw control characters, literals may hold quotes and backslashes, a reference never meets a property of
its name, repetitions stay repetitions.
"""

from __future__ import annotations

import json
from typing import Any

from llama_cpp.llama_grammar import PRIMITIVE_RULES, SchemaConverter

from backends.engine.gbnf import ROOT

_CHAR = r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'


def converted(schema: dict[str, Any]) -> str:
    """The grammar. Raises what the converter does for schemas that it cannot make sense of: see `json_schema`."""
    converter = _Converter()
    copied = converter.resolve_refs(json.loads(json.dumps(schema)), "")
    root = converter.visit(copied, "")
    if root != ROOT:
        converter._add_rule(ROOT, root)
    return converter.format_grammar()


class _Converter(SchemaConverter):  # type: ignore[misc]
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
            return self._string(schema, name)
        if plain and kind == "array" and isinstance(schema.get("items"), dict):
            return self._array(schema, name)
        return str(super().visit(schema, name))

    def _string(self, schema: dict[str, Any], name: str) -> str:
        self._add_primitive("char", PRIMITIVE_RULES["char"])
        times = _times(schema.get("minLength", 0), schema.get("maxLength"))
        return str(self._add_rule(name or ROOT, rf'"\"" char{times} "\"" space'))

    def _array(self, schema: dict[str, Any], name: str) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0:
            return str(self._add_rule(name or ROOT, '"[" space "]" space'))
        item = self.visit(schema["items"], f"{name}-item" if name else "item")
        further = _times(max(0, least - 1), None if most is None else most - 1)
        optional = "" if least else "?"
        items = f'({item} ("," space {item}){further}){optional}'
        return str(self._add_rule(name or ROOT, f'"[" space {items} "]" space'))

    def format_grammar(self) -> str:
        """The rules as GBNF."""
        for rule in ("char", "dot"):
            if rule in self._rules:
                self._rules[rule] = _CHAR
        return str(super().format_grammar())


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"
