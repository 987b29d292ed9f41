"""Reading al.toml; each mistake in it becomes an error of one sentence."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from .tables import Config, tables

_LONGEST_VALUE = 60
"""Number of characters; an error does not repeat a value that is longer."""

_EXPECTED = {
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "dict_type": "expected a table in braces",
    "finite_number": "expected a finite number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "string_type": "expected text in quotes",
    "too_short": "expected more values",
    "tuple_type": "expected a list in brackets",
}
"""What TOML calls the types that pydantic's messages name in Python's words, by its error type."""


def load_config(path: Path) -> Config:
    """Read and check a campaign's configuration.

    Paths inside the file are taken relative to the file's own folder.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or holds a key or value that is not allowed; the
        message names each key, its value and what was expected.
    """
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror});"
            " `alrare template > al.toml` writes one to start from"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse_config(content, folder=path.parent, source=str(path))


def parse_config(content: Mapping[str, Any], *, folder: Path, source: str) -> Config:
    """Check configuration values; relative paths are taken from `folder`.

    Raises
    ------
    ConfigError
        As `load_config`; `source` names where the values came from.
    """
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, source=source))) from error
    labeller = config.labeller
    if labeller.slater_koster is not None:
        folder_of_files = (folder / labeller.slater_koster.expanduser()).resolve()
        labeller = labeller.model_copy(update={"slater_koster": folder_of_files})
    paths = {"structure": (folder / config.structure.expanduser()).resolve()}
    if config.reference is not None:
        paths["reference"] = (folder / config.reference.expanduser()).resolve()
    return config.model_copy(update={**paths, "labeller": labeller})


def explain(
    error: ValidationError, *, source: str, name_key: Callable[[str], str] = str
) -> Iterable[str]:
    """Say each mistake of a configuration in one sentence.

    Parameters
    ----------
    error : ValidationError
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
    names = tables()
    for entry in error.errors():
        loc = list(entry["loc"])
        table = f"[{loc.pop(0)}]" if loc and source and loc[0] in names else ""
        where = ", ".join(part for part in (source, table) if part)
        suffix = f" ({where})" if where else ""
        message = _sentence(
            entry, _key(loc, name_key), in_table=bool(table), equals=" = " if source else " "
        )
        yield f"{message}{suffix}"


def _key(loc: Sequence[int | str], name_key: Callable[[str], str]) -> str:
    """Write the place of a value in a table: `seeds[0]`, `hidden.H`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else name_key(part)
    return text


def _sentence(entry: Any, key: str, *, in_table: bool, equals: str) -> str:
    if entry["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it, or see `alrare template` for the keys that exist"
    if entry["type"] == "missing":
        if key or not in_table:
            return f"{key}: required, but not given"
        return "required, but not given: `atoms`, the two atoms to pull"
    if entry["type"] == "model_type":
        return "expected a table of keys"
    message = _EXPECTED.get(entry["type"], str(entry["msg"]).removeprefix("Value error, "))
    value = repr(entry["input"])
    if not key or isinstance(entry["input"], dict) or len(value) > _LONGEST_VALUE:
        return f"{key}: {_small(message)}" if key else message
    return f"{key}{equals}{value}: {_small(message)}"


def _small(message: str) -> str:
    return message[0].lower() + message[1:]
