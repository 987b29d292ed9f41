"""Types of the values in al.toml, and the base class of its tables."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.fields import FieldInfo

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SetBy:
    """Marks a key whose default is decided by another key, or that another key makes meaningless.

    The template comments such a key out.
    """

    key: str
    """The other key of the table: `recipe`, `program`."""
    values: tuple[str, ...] = ()
    """This key may be set only if the other key has one of these values; empty: any value."""


def _or_word(word: str, *, least: float, kind: type[int] | type[float]) -> Any:
    """Return the type of a key that is a number or one word."""
    number = "a whole number" if kind is int else "a number"
    bound = f"of at least {least:g}" if kind is int else f"above {least:g}"

    def check(value: Any) -> Any:
        if value == word:
            return word
        is_number = isinstance(value, int | kind) and not isinstance(value, bool)
        is_number = is_number and math.isfinite(value)
        if is_number and (value >= least if kind is int else value > least):
            return kind(value)
        raise ValueError(f'expected "{word}" or {number} {bound}')

    json_type = "integer" if kind is int else "number"
    schema = {"anyOf": [{"const": word, "type": "string"}, {"type": json_type, "minimum": least}]}
    return PlainValidator(check), WithJsonSchema(schema)


CountOrAll = Annotated[int | Literal["all"], *_or_word("all", least=0, kind=int)]
PositiveOrNone = Annotated[float | Literal["none"], *_or_word("none", least=0, kind=float)]
PositiveOrAdaptive = Annotated[
    float | Literal["adaptive"], *_or_word("adaptive", least=0, kind=float)
]


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
            numbers += range(int(low), int(high or low) + 1)
    except ValueError as error:
        raise ValueError('expected numbers such as [1, 2, 5] or "1-8" or "1,2,5"') from error
    return numbers


def expand_numbers(given: Any) -> Any:
    """Turn text such as "1-6" into a list of numbers; return any other value unchanged."""
    return read_numbers(given) if isinstance(given, str) else given


class Section(BaseModel):
    """A table of al.toml: unknown keys are refused, and values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def set_by(field: FieldInfo) -> SetBy | None:
    """Return the `SetBy` mark of a key, None if it has none."""
    return next((mark for mark in field.metadata if isinstance(mark, SetBy)), None)
