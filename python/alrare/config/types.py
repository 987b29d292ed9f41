"""The kinds of values that al.toml holds, and what its tables have in common."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.fields import FieldInfo

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SetBy:
    """Marks a key whose value, if not given, another key decides or makes meaningless.

    The template shows it commented out.
    """

    key: str
    """The other key of the table: `recipe`, `program`."""
    values: tuple[str, ...] = ()
    """Those of its values with which this key may be given; empty: with all."""


def _or_word(word: str, *, least: float, kind: type[int] | type[float]) -> Any:
    """Return the type of a key that is a number or one word."""
    number = "a whole number" if kind is int else "a number"
    bound = f"of at least {least:g}" if kind is int else f"above {least:g}"

    def check(value: Any) -> Any:
        if value == word:
            return word
        is_number = isinstance(value, int | kind) and not isinstance(value, bool)
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
    """Read whole numbers as a person writes them: `1-8` or `1,2,5`.

    Raises
    ------
    ValueError
        If the text is something else.
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
    """Read numbers that are given as text; leave everything else as it is."""
    return read_numbers(given) if isinstance(given, str) else given


class Section(BaseModel):
    """A table of al.toml: unknown keys are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def set_by(field: FieldInfo) -> SetBy | None:
    """Return what another key decides about a key, None if nothing."""
    return next((mark for mark in field.metadata if isinstance(mark, SetBy)), None)
