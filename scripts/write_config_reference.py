# ruff: noqa: INP001  # a program, not a package
"""Write what the schema of compass.yaml says to where people and editors read it.

    python scripts/write_config_reference.py

Writes compass_ray/data/compass.schema.json and the table at the end of docs/configuration.md.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compass_ray.config import json_schema

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "compass_ray" / "data" / "compass.schema.json"
PAGE = ROOT / "docs" / "configuration.md"
MARK = "<!-- written by scripts/write_config_reference.py -->\n"

Json = dict[str, Any]


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(written + MARK + table(), encoding="utf-8")


def schema_text() -> str:
    """Return the JSON schema as the file holds it."""
    return json.dumps(json_schema(), indent=1) + "\n"


def table() -> str:
    """Return a Markdown table of all settings."""
    schema = json_schema()
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows("", schema, schema["$defs"]))
    return f"\n| key | value | default | meaning |\n|---|---|---|---|\n{rows}"


def _rows(prefix: str, section: Json, known: Json) -> Iterator[tuple[str, str, str, str]]:
    for name, setting in section["properties"].items():
        key, shape = f"{prefix}{name}", _resolve(setting, known)
        suffix, inner = "", shape
        if shape.get("type") == "object" and "properties" not in shape:
            inner, suffix = _held(shape, known), ".NAME"
        elif shape.get("type") == "array":
            inner, suffix = _resolve(shape["items"], known), "[]"
        meaning = setting.get("description") or shape.get("description", "")
        if "properties" in inner:
            yield f"**`{key}`**", "", "", _line(meaning)
            yield from _rows(f"{key}{suffix}.", inner, known)
        else:
            default = "" if setting.get("default") is None else json.dumps(setting["default"])
            yield f"`{key}`", _kind(shape, known), f"`{default}`" if default else "", _line(meaning)


def _resolve(shape: Json, known: Json) -> Json:
    """Follow a reference, and look through what may also be null."""
    if "$ref" in shape:
        return dict(known[shape["$ref"].rpartition("/")[2]])
    others = [one for one in shape.get("anyOf", []) if one.get("type") != "null"]
    return _resolve(others[0], known) if len(others) == 1 else shape


def _held(shape: Json, known: Json) -> Json:
    """Return the shape of the values of a mapping whose keys are names."""
    (held,) = shape.get("patternProperties", {"": shape.get("additionalProperties")}).values()
    return _resolve(held, known)


def _kind(shape: Json, known: Json) -> str:
    if "anyOf" in shape:
        return " or ".join(_kind(one, known) for one in shape["anyOf"])
    if "enum" in shape:
        return ", ".join(str(one) for one in shape["enum"])
    if shape.get("type") == "array":
        return f"list of {_kind(_resolve(shape['items'], known), known)}"
    if shape.get("type") == "object":
        names = ", ".join(shape.get("propertyNames", {}).get("enum", ["name"]))
        return f"{names}: {_kind(_held(shape, known), known)}"
    return _bounded(shape)


def _bounded(shape: Json) -> str:
    kind: str = shape.get("format") or shape["type"]
    low = shape.get("minimum", shape.get("exclusiveMinimum"))
    high = shape.get("maximum")
    if low is None or kind not in {"integer", "number"}:
        return kind
    sign = ">" if "exclusiveMinimum" in shape else "≥"
    return f"{kind} {sign} {low}" if high is None else f"{kind} {sign} {low}, ≤ {high}"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
