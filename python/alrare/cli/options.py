"""Command-line options made from keys of al.toml: name, help, choices and default."""

import argparse
import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ..config import Section, explain, set_by
from ..errors import AlrareError
from .template import toml_value

Table = TypeVar("Table", bound=Section)


def add_options(
    parser: argparse.ArgumentParser,
    table: type[Section],
    keys: Iterable[str],
    *,
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Add an option for each of the given keys of a table of al.toml.

    An option that is not given is None in the parsed arguments; `read_table` leaves it to the
    table's default.

    Parameters
    ----------
    parser : ArgumentParser
    table : type of Section
    keys : iterable of str
    names : mapping from key to tuple of str, optional
        Names of an option that is not called like its key (`--cv-gap` for `cv_gap`).
    """
    for key in keys:
        field = table.model_fields[key]
        own = (names or {}).get(key, (option_name(key),))
        parser.add_argument(*own, dest=key, **_keywords(key, field))


def option_name(key: str) -> str:
    """Return the name of a key's option: `--cv-gap` for `cv_gap`."""
    return f"--{key.replace('_', '-')}"


def read_table(
    table: type[Table], options: argparse.Namespace, keys: Iterable[str], **beside: Any
) -> Table:
    """Make a table from the options that were given, and what stands beside them.

    Raises
    ------
    AlrareError
        If a value is not allowed; the message names the option.
    """
    given = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    try:
        return table.model_validate({**beside, **given})
    except ValidationError as error:
        raise AlrareError(
            "\n".join(explain(error, table, source="", name_key=option_name))
        ) from error


def _keywords(key: str, field: FieldInfo) -> dict[str, Any]:
    words: dict[str, Any] = {"default": None, "help": _help(field), "required": field.is_required()}
    kind = field.annotation
    if kind is bool:
        return words | {"action": "store_true"}
    if get_origin(kind) is Literal:
        return words | {"choices": get_args(kind)}
    if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
        words["nargs"] = len(get_args(kind))
    return words | {"type": _value, "metavar": _metavar(kind)}


def _metavar(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "LIST" if Ellipsis in get_args(kind) else "N"
    parts = _parts(kind)
    return "X" if float in parts else "N" if int in parts else "TEXT"


def _parts(kind: Any) -> set[Any]:
    """Return the member types of a union."""
    if isinstance(kind, types.UnionType) or get_origin(kind) in (Annotated, Union):
        return set().union(*map(_parts, get_args(kind)))
    return {kind} if isinstance(kind, type) else set()


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    sentence = re.split(r"(?<=\.) (?=[A-Z])", text)[0].replace("`", "").rstrip(".")
    if field.is_required() or field.default is None or isinstance(field.default, bool):
        return sentence.replace("%", "%%")
    if set_by(field) is not None:  # its text names the defaults itself
        return sentence.replace("%", "%%")
    return f"{sentence} (default: {toml_value(field.default).strip(chr(34))})".replace("%", "%%")


def _value(text: str) -> Any:
    """Read a value as TOML, or as plain text if it is not valid TOML."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except ValueError:  # TOMLDecodeError, or a number of thousands of digits
        return text
