"""A commented al.toml, made from the fields of the configuration, so that it is always complete."""

import importlib.resources
import json
import textwrap
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic.fields import FieldInfo

from ..config import Config, Section, SetBy, Train, set_by, tables, train_in_campaign

Protocol = Literal["alrare", "paper"]
WIDTH = 96


def template(protocol: Protocol = "alrare") -> str:
    """Return an al.toml with every key, its meaning, its unit and its value.

    Keys whose default another key decides (the recipe, the labeller's program), and keys without a
    default, are commented out, so that a change of the other key takes effect. The user has to
    change `name`, `structure` and the pulled atoms.

    Parameters
    ----------
    protocol : {"alrare", "paper"}
        alrare: the defaults. paper: the protocol of Jung, Choi, Lee, Digital Discovery 2024, 3, 514
        (`protocol_content`).
    """
    given = protocol_content(protocol)
    lines = [
        "# A campaign of alrare: start it, or go on with it, by `alrare run al.toml`.",
        "# Change at least `name`, `structure` and, in [pull], `atoms`; the rest may stay or go.",
    ]
    if protocol == "paper":
        lines.append("# The protocol of Jung, Choi, Lee, Digital Discovery 2024, 3, 514.")
    for key, field in Config.model_fields.items():
        if key not in tables():
            lines += _entry(key, field, given.get(key, field.default), given)
    for name, table in tables().items():
        doc = (table.__doc__ or "").strip().splitlines()[0]
        lines += ["", f"[{name}]", *_comment(doc)]
        lines += _entries(table, given.get(name, {}))
    return "\n".join(lines) + "\n"


def protocol_content(protocol: Protocol) -> dict[str, Any]:
    """Return the keys of al.toml that a protocol sets, in their tables; none for the defaults."""
    if protocol == "alrare":
        return {}
    source = importlib.resources.files(__package__) / f"{protocol}.toml"
    return tomllib.loads(source.read_text(encoding="utf-8"))


def schema() -> str:
    """Return the JSON schema of al.toml."""
    return json.dumps(Config.model_json_schema(), indent=1)


def _entries(table: type[Section], given: Mapping[str, Any]) -> list[str]:
    values = campaign_defaults(table, given)
    lines = []
    for key, field in table.model_fields.items():
        lines += _entry(key, field, given.get(key, values[key]), given)
    return lines


def campaign_defaults(table: type[Section], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the keys of a table have in a campaign where al.toml says nothing.

    They are those of the class, but members are trained for fewer steps than by `alrare train`.

    Parameters
    ----------
    table : type
        A table of al.toml.
    given : mapping
        Keys of the table that are given, which may decide others.
    """
    values = {key: field.default for key, field in table.model_fields.items()}
    if table is Train:
        values |= Train.model_validate(train_in_campaign(dict(given))).model_dump()
    return values


def _entry(key: str, field: FieldInfo, value: Any, given: Mapping[str, Any]) -> list[str]:
    lines = ["", *_comment(field.description or "")]
    if field.is_required():
        return [*lines, f"{key} = {toml_value((field.examples or [None])[0])}"]
    mark: SetBy | None = set_by(field)
    if value is None or (mark is not None and not value and field.examples):
        example = toml_value((field.examples or [None])[0])
        return [*lines, f"# {key} = {example}  # an example: not set"]
    if mark is not None and key not in given:
        return [*lines, f"# {key} = {toml_value(value)}"]
    return [*lines, f"{key} = {toml_value(value)}"]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]


def toml_value(value: Any) -> str:
    """Write a value as TOML, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {toml_value(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return json.dumps(str(value), ensure_ascii=False)
