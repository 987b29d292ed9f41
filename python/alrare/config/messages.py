"""The mistakes in configuration values, each as one sentence."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

_LONGEST_VALUE = 60
"""Number of characters; an error does not repeat a value that is longer."""

_OF_KEY = "[key]"
"""How pydantic names the key of a mapping, not its value, in the place of an error."""

_EXPECTED: dict[str, str] = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dict_type": "expected a table in braces",
    "finite_number": "expected a finite number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "greater_than": "expected a number above {gt:g}",
    "greater_than_equal": "expected at least {ge}",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a whole number",
    "int_type": "expected a whole number",
    "less_than": "expected a number below {lt:g}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "path_type": "expected text in quotes",
    "string_type": "expected text in quotes",
    "too_long": "expected no more than {max_length} values",
    "too_short": "expected at least one value",
    "tuple_type": "expected a list in brackets",
}
"""What is said for each of pydantic's error types, with the numbers of the error's context."""


_EXAMPLES: dict[tuple[Any, str], str] = {
    ("hidden", "dict_type"): "{ H = [64, 48] }",
    ("hidden", "tuple_type"): "[64, 48]",
    ("hidden_default", "tuple_type"): "[64, 48]",
}
"""The right form of a value by key and error type, where the sentence alone does not show it."""


def explain(
    error: ValidationError,
    root: type[BaseModel],
    *,
    source: str,
    name_key: Callable[[str], str] = str,
) -> Iterable[str]:
    """Say each mistake of a configuration in one sentence.

    Parameters
    ----------
    error : ValidationError
    root : type of BaseModel
        The model whose validation failed; it tells which keys and tables exist.
    source : str
        Where the values came from: the file; empty for the command line.
    name_key : callable
        How a key is written there; as in al.toml unless given.

    Yields
    ------
    str
        Key and value, what was expected, and the file and table; a value that is long, such as a
        whole table, is left out.
    """
    names = tables_of(root)
    for entry in error.errors():
        loc = list(entry["loc"])
        table = str(loc.pop(0)) if loc and loc[0] in names else ""
        where = ", ".join(part for part in (source, table and f"[{table}]") if part)
        suffix = f" ({where})" if where else ""
        listed = _listed(root, loc)
        inner = _table_within(names.get(table), loc)
        if entry["type"] == "extra_forbidden" and listed is not None:
            message = _unknown_key_of_list(loc, listed)
        elif entry["type"] == "extra_forbidden" and inner is not None:
            message = _unknown_key_within(loc, inner)
        elif entry["type"] == "extra_forbidden":
            message = _unknown_key(str(loc[-1]), table, root)
        else:
            key = _key(loc, name_key)
            message = _sentence(entry, key, in_table=bool(table), equals=" = " if source else " ")
        yield f"{message}{suffix}"


def tables_of(root: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the tables in a model by their names, in order."""
    kinds = {
        name: next(iter(set(get_args(field.annotation)) - {NoneType}), field.annotation)
        for name, field in root.model_fields.items()
        if get_origin(field.annotation) in (None, UnionType)
    }
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }


def _listed(root: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model of a list of tables such as `[[system]]`, if a mistake is in one."""
    field = root.model_fields.get(str(loc[0])) if len(loc) > 2 else None
    kinds = get_args(field.annotation) if field is not None else ()
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _table_within(table: type[BaseModel] | None, loc: Sequence[int | str]) -> Any:
    """Return the model of a table in a table, as [cluster.label], if a key of it is meant."""
    return tables_of(table).get(str(loc[0])) if table is not None and len(loc) == 2 else None


def _unknown_key_within(loc: Sequence[int | str], inner: type[BaseModel]) -> str:
    """Say what to do about an unknown key of a table in a table."""
    near = difflib.get_close_matches(str(loc[-1]), inner.model_fields, n=1)
    keys = ", ".join(inner.model_fields)
    advice = f"did you mean {near[0]}?" if near else f"expected one of {keys}"
    return f"{_key(loc, str)}: unknown key; {advice}"


def _unknown_key_of_list(loc: Sequence[int | str], listed: type[BaseModel]) -> str:
    """Say what to do about an unknown key of a table of a list."""
    key = str(loc[-1])
    near = difflib.get_close_matches(key, listed.model_fields, n=1) if len(loc) == 3 else []
    if near:
        advice = f"did you mean {near[0]}?"
    elif "variables" in listed.model_fields and len(loc) == 3:
        advice = f"a variable of the input stands in variables = {{ {key} = ... }}"
    else:
        advice = "remove it, or see the documentation for the keys that exist"
    return f"{_key(loc, str)}: unknown key; {advice}"


def _unknown_key(key: str, table: str, root: type[BaseModel]) -> str:
    tables = tables_of(root)
    here = (tables[table] if table else root).model_fields
    near = difflib.get_close_matches(key, here, n=1)
    homes = [name for name, one in tables.items() if key in one.model_fields and name != table]
    if homes:
        advice = f"it belongs to {' or '.join(f'[{name}]' for name in homes)}"
    elif table and key in root.model_fields:
        advice = "it belongs above the first table"
    elif near:
        advice = f"did you mean {near[0]}?"
    else:
        advice = "remove it, or see `alrare template` for the keys that exist"
    return f"{key}: unknown key; {advice}"


def _key(loc: Sequence[int | str], name_key: Callable[[str], str]) -> str:
    """Write the place of a value in a table: `seeds, value 2`, `hidden.H`."""
    text = ""
    for part in loc:
        if part == _OF_KEY:
            continue
        if isinstance(part, int):
            text += f", value {part + 1}"
        else:
            text += f".{part}" if text else name_key(part)
    return text


def _as_toml(value: Any) -> str:
    """Write a value as al.toml has it: true rather than True."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    return repr(value)


def _sentence(entry: Any, key: str, *, in_table: bool, equals: str) -> str:
    if entry["type"] == "missing":
        return f"{key}: required, but not given"
    if entry["type"] == "model_type":
        return "expected a table of keys"
    known = _EXPECTED.get(entry["type"])
    if known is None:
        message = str(entry["msg"]).removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
    else:
        message = known.format(**entry.get("ctx", {}))
    value, kind, loc = _as_toml(entry["input"]), entry["type"], entry["loc"]
    example = next((_EXAMPLES[part, kind] for part in loc if (part, kind) in _EXAMPLES), "")
    message += f", such as {example}" if example else ""
    if not key:
        return message
    if isinstance(entry["input"], dict) or _OF_KEY in loc or len(value) > _LONGEST_VALUE:
        return f"{key}: {message}"
    return f"{key}{equals}{value}: {message}"
