"""The table [[explore]] of al.toml: a LAMMPS input that drives a system toward its rare event."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ..units import KCAL_PER_MOL
from .types import (
    Count,
    CountOrSlackOrAll,
    NotNegative,
    Positive,
    Section,
    expand_numbers,
    matching,
)

_MAXIMUM_WORK = {
    "name": "maximum work",
    "value": "max(work)",
    "unit": "eV",
    "tolerance": KCAL_PER_MOL,
}
SHIPPED: dict[str, dict[str, Any]] = {
    "md": {},
    "pull": {
        "columns": {"distance": "v_distance", "force": "v_force", "work": "v_work"},
        "cv": "distance",
        "observable": {**_MAXIMUM_WORK, "plus_steps": "slack"},
    },
    "stretch": {
        "columns": {"strain": "v_strain", "stress": "v_stress"},
        "cv": "strain",
        "observable": {"name": "strength", "value": "max(stress)", "unit": "GPa"},
    },
    "colvars": {
        "columns": {"cv": "v_cv", "target": "v_target", "force": "v_force", "work": "v_work"},
        "cv": "cv",
        "observable": _MAXIMUM_WORK,
    },
}
"""The inputs that come with alrare, with the values of their keys."""

ALWAYS = ("step", "potential_energy", "temperature")
"""Columns that every table has."""
_OF_THE_MODEL = ("energy_std", "force_std", "threshold", "selected", "above", "too_similar")
_WATCHED = (*ALWAYS, *_OF_THE_MODEL, "unphysical")

_OF_RESULTS = (
    "barrier_error", "calibration", "convergence", "cut_off", "cv", "energy_mae_test", "error",
    "event", "event_step", "finished", "force_mae_test", "index", "iteration", "kind", "model",
    "n_cut_off", "n_labels", "n_left_out", "n_runs", "peak_energy", "peak_step", "reference",
    "runs", "seconds", "seed", "seeds", "selection", "systems", "test", "test_broken",
    "test_intact", "values",
)  # fmt: skip
"""Keys of results.json, which no observable may have."""

_WORD = r"[A-Za-z_]\w*"
_VALUE = rf"(max|min|mean|last|event)\(\s*({_WORD})\s*\)"
_EVENT = rf"bond|none|(max|min)\(\s*{_WORD}\s*\)|{_WORD}\s*[<>]\s*[-+]?\d+(\.\d*)?([eE][-+]?\d+)?"
_QUANTITY = rf"{_WORD}(\[\d+\])*"

_Name = matching(_WORD, "expected letters, digits and underscores, a letter first")


def _variable(value: Any) -> Any:
    if isinstance(value, str) and ('"' in value or not value.isprintable()):
        raise ValueError('expected text of one line without "')
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value != value:
        raise ValueError("expected a number or text")
    return value


def _observable_of(shipped: dict[str, Any], own: dict[str, Any], variables: Any) -> dict[str, Any]:
    """Return an observable with what the input gives: its name and unit are those of its value."""
    of_input = dict(shipped.get("observable", {}))
    if own.get("value", of_input.get("value")) != of_input.get("value"):
        of_input = {key: value for key, value in of_input.items() if key == "plus_steps"}
    if has_constant_force(variables):
        of_input.pop("plus_steps", None)
    return {**of_input, **own}


def has_constant_force(variables: Any) -> bool:
    """Whether variables of the input "pull" set a constant force in place of its spring."""
    try:
        return float(variables["tension"]) != 0.0
    except (TypeError, KeyError, ValueError):
        return False


class Observable(Section):
    """The physical quantity of a run that a campaign is about."""

    name: Annotated[str, *matching(r"[A-Za-z][\w -]*", "expected a name of letters")]
    """Its name in tables and figures: "strength"."""
    value: Annotated[
        str,
        *matching(_VALUE, "expected max, min, mean, last or event of a column: max(stress)"),
    ]
    """max, min or mean of a column over the run, its last value, or the one at the event."""
    unit: str = ""
    """Its unit, for tables and figures."""
    tolerance: Positive
    """A change from one iteration to the next is small if its mean over the seeds and its standard
    error are below this, in the unit of the observable (`[stop]`)."""
    plus_steps: CountOrSlackOrAll = 200
    """max, min and mean are taken until this many MD steps after the event; "all": over the whole
    run; "slack": until the spring of the input "pull" has gone slack, as in `[pull]`, which is the
    default there."""

    @model_validator(mode="after")
    def _own_name(self) -> "Observable":
        if self.key.removesuffix("_sem") in _OF_RESULTS:
            raise ValueError(
                f'name = "{self.name}": results.json has an entry of this name; add to it'
            )
        return self

    @property
    def key(self) -> str:
        """Its name in results.json: `maximum_work`."""
        return self.name.replace(" ", "_").replace("-", "_")

    @property
    def kind(self) -> str:
        """`max`, `min`, `mean`, `last` or `event`."""
        return self._parts[0]

    @property
    def column(self) -> str:
        """The column of the table."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        match = re.fullmatch(_VALUE, self.value)
        assert match is not None
        return match.group(1), match.group(2)


class Explore(Section):
    """A LAMMPS input that drives a system toward its rare event, once per seed."""

    input: Annotated[Path, Field(examples=["in.tear"])]
    """An input that comes with alrare ("pull", "stretch", "colvars", "md"), or the path of one's
    own, relative to al.toml."""
    name: Annotated[
        str | None,
        *matching(r"[A-Za-z0-9][\w.-]*", "expected letters, digits, dots, hyphens, underscores"),
    ] = None
    """Its name in folders and tables, if there are several; by default that of the input."""
    systems: tuple[str, ...] = ()
    """Names of the systems that it drives; by default all."""
    seeds: Annotated[tuple[Count, ...], BeforeValidator(expand_numbers), Field(min_length=1)] = (
        *range(1, 7),
    )
    """One run per seed, the same for model and labeller, as in `[pull]`."""
    variables: dict[
        Annotated[str, *_Name],
        Annotated[
            float | int | str,
            PlainValidator(_variable),
            WithJsonSchema({"type": ["number", "string"]}),
        ],
    ] = {}
    """Values of index variables of the input."""
    columns: dict[
        Annotated[str, *_Name],
        Annotated[
            str,
            *matching(_QUANTITY, "expected v_NAME, c_ID[1], f_ID[1] or a thermo keyword"),
        ],
    ] = {}
    """What is written at each step beside `step`, `potential_energy` and `temperature`: name of the
    column, and v_NAME for an equal-style variable, c_ID[1], f_ID[1] or a thermo keyword such as
    lx."""
    cv: str | None = None
    """The column that is the collective variable: candidates are spread over it, and the curves are
    drawn against it. By default none."""
    cv_gap: NotNegative = 0.0
    """As `cv_gap` in `[select]`, in the unit of the column; 0: not tested."""
    event: Annotated[
        str,
        *matching(_EVENT, 'expected "bond", "none", "COLUMN > 1.0" or "max(COLUMN)"'),
    ] = "bond"
    """The rare event. bond: the first bond that breaks or forms. "COLUMN > 1.0" or "COLUMN < 1.0":
    the first step at which that holds. "max(COLUMN)" or "min(COLUMN)": where the column has its
    largest or smallest value. none: no event; labels are then taken around the step that decides
    the observable."""
    observable: Observable
    """The physical quantity: name, value, unit, tolerance, plus_steps."""
    files: tuple[Path, ...] = ()
    """Files that the input reads, relative to al.toml; they are copied beside it."""

    @model_validator(mode="before")
    @classmethod
    def _of_shipped(cls, given: Any) -> Any:
        if not isinstance(given, dict) or str(given.get("input")) not in SHIPPED:
            return given
        shipped = SHIPPED[str(given["input"])]
        merged = {**shipped, **given}
        if isinstance(given.get("columns"), dict):
            merged["columns"] = {**shipped.get("columns", {}), **given["columns"]}
        own = given.get("observable")
        if own is None or isinstance(own, dict):
            merged["observable"] = _observable_of(shipped, own or {}, given.get("variables"))
        if not merged["observable"]:
            del merged["observable"]
        return merged

    @model_validator(mode="after")
    def _known_columns(self) -> "Explore":
        taken = next((name for name in self.columns if name in _WATCHED), None)
        if taken is not None:
            raise ValueError(f"columns.{taken}: alrare writes a column of this name; rename yours")
        known = (*ALWAYS, *self.columns)
        used = {"cv": self.cv, "observable.value": self.observable.column}
        if self.event not in ("bond", "none"):
            used["event"] = re.findall(_WORD, self.event.partition("(")[2] or self.event)[0]
        for key, column in used.items():
            if column is not None and column not in known:
                raise ValueError(
                    f'{key}: expected a column of the table, {", ".join(known)}, got "{column}";'
                    f' add it to columns, such as {column} = "v_{column}"'
                )
        if self.event == "none" and self.observable.kind == "event":
            raise ValueError('observable.value: event(...) needs an event; got event = "none"')
        if self.observable.plus_steps == "slack":
            self._require_spring()
        if len(set(self.seeds)) != len(self.seeds):
            twice = next(seed for seed in self.seeds if self.seeds.count(seed) > 1)
            raise ValueError(f"seeds: every seed must be different, got {twice} twice")
        return self

    def _require_spring(self) -> None:
        if self.shipped != "pull":
            raise ValueError(
                'observable.plus_steps: "slack" is for the input "pull", whose spring it watches;'
                ' give a number of MD steps after the event, or "all"'
            )
        if has_constant_force(self.variables):
            raise ValueError(
                'observable.plus_steps: "slack" needs a spring, and tension (variables) is a'
                ' constant force; give a number of MD steps after the event, or "all"'
            )
        if self.columns["force"] != SHIPPED["pull"]["columns"]["force"]:
            raise ValueError(
                'columns.force: the spring of the input "pull", by which plus_steps = "slack" is'
                " told; give your column another name"
            )

    @property
    def shipped(self) -> str | None:
        """Name of the input if it comes with alrare."""
        return str(self.input) if str(self.input) in SHIPPED else None

    @property
    def title(self) -> str:
        """`name`, by default that of the input."""
        return title_of(self.name, self.input)


def title_of(name: str | None, path: Path) -> str:
    """Return the name of an exploration, by default that of its input: "tear" for `in.tear`."""
    return name or path.name.removeprefix("in.")
