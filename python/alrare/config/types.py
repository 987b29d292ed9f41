"""Types of the values in al.toml, and the base class of its tables."""

import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from ..errors import ConfigError
from .messages import explain

_LARGEST = 2**31 - 1
"""Largest whole number; LAMMPS reads no larger one everywhere."""


def _refuse_text(value: Any) -> Any:
    """Refuse what pydantic would turn into a number: text and true or false."""
    if isinstance(value, str | bool):
        raise ValueError("expected a number")
    return value


_IS_NUMBER = BeforeValidator(_refuse_text)
Number = Annotated[float, _IS_NUMBER, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
WholeNumber = Annotated[int, _IS_NUMBER, Field(le=_LARGEST)]
Count = Annotated[WholeNumber, Field(ge=1)]
CountOrZero = Annotated[WholeNumber, Field(ge=0)]


def _known_element(symbol: str) -> str:
    from ase.data import chemical_symbols  # `alrare template` does without ASE

    if symbol not in chemical_symbols[1:]:
        raise ValueError("expected a chemical element such as H or Cl")
    return symbol


Element = Annotated[str, AfterValidator(_known_element)]


@dataclass(frozen=True)
class SetBy:
    """Marks a key whose default is decided by another key, or that another key makes meaningless.

    The template comments such a key out.
    """

    key: str
    """The other key of the table: `recipe`, `program`."""
    values: tuple[str, ...] = ()
    """This key may be set only if the other key has one of these values; empty: any value."""


def _or_word(*words: str, least: float, kind: type[int] | type[float]) -> Any:
    """Return the type of a key that is a number or one of some words."""
    number = "a whole number" if kind is int else "a number"
    most = _LARGEST if kind is int else sys.float_info.max
    bound = f"of at least {least:g}" if kind is int else f"above {least:g}"

    def check(value: Any) -> Any:
        if value in words:
            return value
        is_number = isinstance(value, int | kind) and not isinstance(value, bool)
        if is_number and abs(value) <= most and (value >= least if kind is int else value > least):
            return kind(value)
        expected = ", ".join(f'"{word}"' for word in words)
        raise ValueError(f"expected {expected} or {number} {bound}")

    json_type = "integer" if kind is int else "number"
    choices: list[dict[str, Any]] = [{"const": word, "type": "string"} for word in words]
    schema = {"anyOf": [*choices, {"type": json_type, "minimum": least}]}
    return PlainValidator(check), WithJsonSchema(schema)


CountOrAll = Annotated[int | Literal["all"], *_or_word("all", least=0, kind=int)]
CountOrSlackOrAll = Annotated[
    int | Literal["slack", "all"], *_or_word("slack", "all", least=0, kind=int)
]
PositiveOrNone = Annotated[float | Literal["none"], *_or_word("none", least=0, kind=float)]
PositiveOrAuto = Annotated[float | Literal["auto"], *_or_word("auto", least=0, kind=float)]
PositiveOrAdaptive = Annotated[
    float | Literal["adaptive"], *_or_word("adaptive", least=0, kind=float)
]


def matching(pattern: str, expected: str) -> Any:
    """Return the annotations of a text that must match a pattern.

    Parameters
    ----------
    pattern : str
        Regular expression of the whole text.
    expected : str
        What an error says of it: "expected cpu or cuda".
    """

    def check(value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(pattern, value) is None:
            raise ValueError(expected)
        return value

    return BeforeValidator(check), WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


class EmptyRangeError(ValueError):
    """A range of numbers ends below its first one."""


_MOST = 10_000
"""Longest range of numbers that text may stand for."""


def read_numbers(text: str) -> list[int]:
    """Read a list of whole numbers such as `1-8` or `1,2,5`.

    Raises
    ------
    ValueError
        If the text is not such a list.
    """
    numbers: list[int] = []
    try:
        for part in text.split(","):
            low, _, high = part.partition("-")
            if high and int(high) < int(low):
                raise EmptyRangeError(f"expected ranges that go up, such as {high}-{low}")
            numbers += range(int(low), min(int(high or low), int(low) + _MOST) + 1)
    except EmptyRangeError:
        raise
    except ValueError as error:
        raise ValueError('expected numbers such as [1, 2, 5] or "1-8" or "1,2,5"') from error
    if len(numbers) > _MOST:
        raise ValueError(f"expected at most {_MOST} numbers")
    return numbers


def expand_numbers(given: Any) -> Any:
    """Read numbers given as text, or a single one; leave everything else as it is."""
    if isinstance(given, int) and not isinstance(given, bool):
        return [given]
    return read_numbers(given) if isinstance(given, str) else given


class Section(BaseModel):
    """A table of al.toml: unknown keys are refused, and values cannot change after reading.

    Raises
    ------
    ConfigError
        If a value is not allowed; one line for each mistake.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            mistakes = explain(error, type(self), source=type(self).__name__)
            raise ConfigError("\n".join(mistakes)) from error

    # So pydantic keeps to its own way of making a table inside a table, whose mistakes it collects.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def set_by(field: FieldInfo) -> SetBy | None:
    """Return the `SetBy` mark of a key, None if it has none."""
    return next((mark for mark in field.metadata if isinstance(mark, SetBy)), None)


def require_owner(section: Section, key: str, value: str) -> None:
    """Refuse keys that `SetBy` gives to another value of `key` than this one.

    A key at its default is taken, since a resolved configuration holds every key.

    Raises
    ------
    ValueError
    """
    for name in sorted(section.model_fields_set):
        field = type(section).model_fields[name]
        mark = set_by(field)
        if mark is None or mark.key != key or value in mark.values:
            continue
        if getattr(section, name) == field.default:
            continue
        owners = " or ".join(f'"{owner}"' for owner in mark.values)
        raise ValueError(
            f'{name} is for {key} = {owners} only, and {key} = "{value}" would ignore it: remove it'
        )
