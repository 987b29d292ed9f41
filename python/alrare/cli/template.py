"""A commented al.toml, made from the fields of the configuration: it cannot fall behind them."""

import json
import textwrap
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ..config import Config, Section

REQUIRED = {"name": "hexane", "structure": Path("hexane.xyz")}
"""What the template writes for the keys that have no default."""
WIDTH = 96


def template() -> str:
    """Return an al.toml with every key, its meaning and unit, at its default.

    Keys without a default value are commented out; `name` and `structure` are to be changed.
    """
    plain, tables = [], []
    for name, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            tables.append((name, field.default))
        else:
            plain += _entry(name, field, REQUIRED.get(name, field.default))
    lines = ["# A campaign of alrare: start it, or go on with it, by `alrare run al.toml`.", *plain]
    for name, table in tables:
        doc = (type(table).__doc__ or "").strip().splitlines()[0]
        lines += ["", f"[{name}]", *_comment(doc)]
        for key, field in type(table).model_fields.items():
            lines += _entry(key, field, getattr(table, key))
    return "\n".join(lines) + "\n"


def schema() -> str:
    """Return the JSON schema of al.toml."""
    return json.dumps(Config.model_json_schema(), indent=1)


def _entry(name: str, field: FieldInfo, value: Any) -> list[str]:
    lines = ["", *_comment(field.description or "")]
    if value is None:
        return [*lines, f"# {name} ="]
    return [*lines, f"{name} = {_toml(value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return json.dumps(str(value), ensure_ascii=False)
