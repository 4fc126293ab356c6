"""Tables of settings in Markdown, from a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

type Schema = Mapping[str, Any]

HEAD: Final = ["| key | values | default | meaning |", "|---|---|---|---|"]

PLAIN: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}

LIMITS: Final = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def section_tables(schema: Schema, level: int = 2) -> str:
    """One section for each part of the settings, with a table of its keys."""
    lines = []
    for name, part in schema["properties"].items():
        inner = _resolved(part, schema)
        lines += [f"{'#' * level} {name}", "", _sentence(inner.get("description", "")), ""]
        if "properties" in inner:
            lines += table(inner, schema)
        elif isinstance(inner.get("additionalProperties"), Mapping):
            lines += ["For each name:", ""]
            lines += table(_resolved(inner["additionalProperties"], schema), schema)
    return "\n".join(lines)


def table(part: Schema, schema: Schema) -> list[str]:
    """Table of the keys of one part, with the keys of parts within it as ``key.inner``."""
    return [*HEAD, *_rows(part, schema, ""), ""]


def _rows(part: Schema, schema: Schema, before: str) -> Iterator[str]:
    for key, field in part["properties"].items():
        inner = _resolved(field, schema)
        meaning = _sentence(field.get("description") or inner.get("description", ""))
        examples = [value for value in field.get("examples", []) if value not in (field.get("default"), None)]
        if examples and "properties" not in inner:
            meaning += f" Example: {_value(examples[0])}"
        default = _value(field["default"]) if "default" in field else "" if "properties" in inner else "required"
        yield f"| `{before}{key}` | {_cell(_kind(field, schema))} | {default} | {_cell(meaning)} |"
        if "properties" in inner:
            yield from _rows(inner, schema, f"{before}{key}.")
        for name, member in _members(inner, schema):
            yield from _rows(member, schema, f"{before}{key}{name}")


def _members(field: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Parts of a list, or under names that are not settings themselves, that have keys of their own."""
    for choice in (field, *field.get("anyOf", [])):
        for where, name in (("items", "[]."), ("additionalProperties", ".NAME.")):
            inner = _resolved(choice[where], schema) if isinstance(choice.get(where), Mapping) else {}
            if "properties" in inner:
                yield name, inner


def _resolved(field: Schema, schema: Schema) -> Schema:
    """A field with what it refers to; of several possibilities the one with keys of its own."""
    if "$ref" in field:
        return {**schema["$defs"][field["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in field.items() if k != "$ref"}}
    for choice in field.get("anyOf", []):
        inner = _resolved(choice, schema)
        if "properties" in inner:
            return inner
    return field


def _kind(field: Schema, schema: Schema) -> str:
    """What values a field takes, in words."""
    if "$ref" in field:
        return _kind(schema["$defs"][field["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(choice, schema) for choice in field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "properties" in field or field.get("type") == "object":
        return "section"
    if field.get("type") == "array":
        inner = [_kind(item, schema) for item in field.get("prefixItems", [field.get("items", {})])]
        return "list of " + ", ".join(f"({kind})" if " or " in kind else kind for kind in inner)
    limits = [f"{word} {field[key]:g}" for key, word in LIMITS.items() if key in field]
    return " ".join([PLAIN.get(field.get("type", ""), "any"), *limits])


def _value(value: Any) -> str:
    return f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(text: str) -> str:
    text = text.strip()
    return text and f"{text[0].upper()}{text[1:].rstrip('.')}."
