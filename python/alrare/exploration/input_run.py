"""`[[explore]]`: a native LAMMPS input, which includes three files that alrare writes.

`system.lmp` reads the structure and defines the variables and groups, `potential.lmp` the forces,
and from `watch.lmp` on the run is watched: fix al_select, the table, the trajectory. Model and
labeller run the same input with the same seeds; only `potential.lmp` and the fix differ.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import Explore, Observable, Pull, Select
from ..errors import SimulationError
from ..selection.settings import fix_columns, fix_command
from ..tables import with_unit
from .event import Event, find_event
from .exploration import Observed, Quantity
from .input_contract import POTENTIAL_FILE, SEEDS, SYSTEM_FILE, WATCH_FILE
from .lammps_input import (
    data_text,
    dump_commands,
    halt_commands,
    random_seed,
    system_commands,
    thermo_commands,
)
from .observables import AFTERWARDS, slack_step, thermal_noise
from .table import Table, read_table

STRUCTURE_FILE = "structure.data"
TABLE_FILE = "table.dat"
"""File name of the table: a header, then one row per MD step."""
_ALWAYS = {
    "step": "step",
    "potential_energy": "c_thermo_pe",
    "temperature": "c_thermo_temp",
}
"""What LAMMPS calls the columns that every table has."""


@dataclass(frozen=True)
class InputRun:
    """An exploration of `[[explore]]`; `load_input.load_input` makes it."""

    explore: Explore
    texts: Mapping[str, str]
    """The input first, then the files beside it, by name."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Named groups of atoms, from 1."""
    min_distance: float = 0.5
    """Å; a run in which two atoms come closer ends."""
    timestep: float = 0.5
    """MD time step, fs."""

    @property
    def steps(self) -> int | None:
        """See `Exploration`: known of the shipped pull."""
        pull = self._steps_of_pull
        return None if pull is None else int(_of_pull(self.explore, "relax_steps")) + pull

    @property
    def quantity(self) -> Quantity:
        """See `Exploration`."""
        explore, observable = self.explore, self.explore.observable
        y = observable.column
        x = explore.cv if explore.cv not in (None, y) else "step"
        return Quantity(
            name=observable.name,
            key=observable.key,
            symbol=observable.name,
            unit=observable.unit,
            tolerance=observable.tolerance,
            x=(x or "step", x or "step"),
            y=(y, with_unit(y, observable.unit)),
            table=TABLE_FILE,
            runs="run",
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """See `Exploration`."""
        return self.explore.seeds

    @property
    def main(self) -> str:
        """See `Exploration`."""
        return next(iter(self.texts))

    @property
    def atoms(self) -> tuple[int, ...]:
        """The atoms of the groups."""
        return tuple(sorted({atom for group in self.groups.values() for atom in group}))

    def files(
        self,
        structure: Atoms,
        elements: Sequence[str],
        *,
        seed: int,
        timestep: float,
        potential: str,
        select: Select | None,
        by_model: bool,
    ) -> dict[str, str]:
        """See `Exploration`."""
        return {
            **self.texts,
            STRUCTURE_FILE: data_text(structure, elements),
            SYSTEM_FILE: self._system(structure, seed, timestep),
            POTENTIAL_FILE: "\n".join(
                ["# the forces", *potential.splitlines(), *halt_commands(self.min_distance), ""]
            ),
            WATCH_FILE: self._watch(elements, select, by_model=by_model),
        }

    def _system(self, structure: Atoms, seed: int, timestep: float) -> str:
        values: dict[str, Any] = {
            name: random_seed(seed, stream) for stream, name in enumerate(SEEDS)
        } | self.explore.variables
        lines = [
            f"# the structure, its groups of atoms, and the variables of this run (seed {seed})",
            *system_commands(STRUCTURE_FILE, structure.pbc),
            f"timestep {timestep * 1e-3:.10g}",
            *(f"variable {name} index {_word(value)}" for name, value in values.items()),
            *(
                f"group {name} id {' '.join(map(str, atoms))}"
                for name, atoms in self.groups.items()
            ),
        ]
        return "\n".join(lines) + "\n"

    def _watch(self, elements: Sequence[str], select: Select | None, *, by_model: bool) -> str:
        columns = {"step": "$(step)"}
        columns |= {
            name: f"$({value}:%.10g)"
            for name, value in {
                **self.explore.columns,
                "potential_energy/eV": "c_thermo_pe",
                "temperature/K": "c_thermo_temp",
                **(fix_columns(select) if by_model else {}),
            }.items()
        }
        select_command = []
        if select is not None and self.explore.cv is not None:
            cv = {**_ALWAYS, **self.explore.columns}[self.explore.cv]
            select_command = [
                f"variable al_cv equal {cv}",
                fix_command(select, cv="v_al_cv", cv_gap=self.explore.cv_gap),
            ]
        elif select is not None:
            select_command = [fix_command(select, cv=None)]
        lines = [
            "# from here on the run is watched: selection, table, trajectory",
            *select_command,
            f'fix table all print 1 "{" ".join(columns.values())}" file {TABLE_FILE} screen no'
            f' title "# {" ".join(columns)}"',
            *dump_commands(elements),
            *thermo_commands(100, ""),
        ]
        return "\n".join(lines) + "\n"

    def settings(self) -> dict[str, Any]:
        """See `Exploration`."""
        return {
            "explore": {
                **{name: _hash(text) for name, text in self.texts.items()},
                "variables": self.explore.variables,
                "columns": self.explore.columns,
                "cv": [self.explore.cv, self.explore.cv_gap],
                "groups": {name: list(atoms) for name, atoms in self.groups.items()},
                "min_distance": self.min_distance,
            }
        }

    def unfinished(self, last: Mapping[str, float] | None) -> str:
        """See `Exploration`: but for the shipped pull, only the input knows when a run is whole."""
        if last is None:
            return f"without a step after `include {WATCH_FILE}`"
        done, steps = int(last["step"]), self._steps_of_pull
        return "" if steps is None or done >= steps else f"after {done} of {steps} steps"

    def is_decided(self, table: Path, event_step: int) -> bool:
        """See `Exploration`: so it may be for the shipped pull; other inputs go to their end."""
        observable = self.explore.observable
        of_pull = self._steps_of_pull is not None and self.explore.event == "bond"
        if not of_pull or observable.kind not in ("max", "min", "mean"):
            return False
        columns = read_table(table)
        last = _last_step(self.explore, columns, event_step, self.timestep)
        return bool((columns["step"][-1] - last) * self.timestep >= AFTERWARDS)

    def observe(self, table: Path, frames: Sequence[Atoms]) -> Observed:
        """See `Exploration`."""
        return observe_table(
            self.explore, read_table(table), frames, self.atoms,
            timestep=self.timestep, steps=self._steps_of_pull,
        )  # fmt: skip

    @property
    def _steps_of_pull(self) -> int | None:
        """MD steps of the shipped pull after its relaxation; None for other inputs."""
        return int(_of_pull(self.explore, "steps")) if self.explore.shipped == "pull" else None


def _word(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TableObserved:
    """What was observed in a run of an input; see `Observed`."""

    quantity_key: str
    value: float | None
    cv: float | None
    """Value of the collective variable, or of the step, where the observable is decided."""
    peak_step: int
    center: int
    event_step: int | None
    event: Event | None
    peak_energy: float
    cut_off: bool

    def to_json(self) -> dict[str, Any]:
        """See `Observed`."""
        return {
            self.quantity_key: self.value,
            "cv": self.cv,
            "peak_step": self.peak_step,
            "event_step": self.event_step,
            "event": None if self.event is None else vars(self.event),
            "peak_energy": self.peak_energy,
            "cut_off": self.cut_off,
        }


def observe_table(
    explore: Explore,
    table: Table,
    frames: Sequence[Atoms],
    driven: Sequence[int] = (),
    *,
    timestep: float = 0.5,
    steps: int | None = None,
) -> TableObserved:
    """Compute the observable of a run.

    Parameters
    ----------
    explore : Explore
        Event and observable.
    table : mapping from str to array (n,)
        One value per step; `step` among them.
    frames : sequence of Atoms
        Configurations of the run with `info["step"]`.
    driven : sequence of int
        As for `find_event`.
    timestep : float, fs
        Of the MD.
    steps : int, optional
        Steps that the run was to have: with `plus_steps = "all"`, a shorter one is cut off.

    Raises
    ------
    SimulationError
        If the observable's column holds no finite number.
    """
    observable, step = explore.observable, table["step"]
    event = find_event(frames, driven) if explore.event == "bond" else None
    event_step = (
        _event_step(explore.event, table)
        if explore.event != "bond"
        else None
        if event is None
        else int(frames[event.index].info["step"])
    )
    last = np.inf
    if event_step is not None and observable.kind != "last":
        last = _last_step(explore, table, event_step, timestep)
    counts = step <= last
    values = np.where(np.isfinite(table[observable.column]), table[observable.column], np.nan)
    if not np.isfinite(values[counts]).any():
        raise SimulationError(
            f"column {observable.column}: expected finite numbers, got none; the run blew up,"
            " or the labeller gives no stress"
        )
    number, row = _decided(observable.kind, np.where(counts, values, np.nan), step, event_step)
    cv = float(table[explore.cv][row]) if explore.cv else float(step[row])
    needs_event = explore.event != "none" and observable.kind != "last"
    energies = table["potential_energy"]
    energies = energies[counts & np.isfinite(energies)]
    if not len(energies):
        raise SimulationError("column potential_energy: expected finite numbers; the run blew up")
    return TableObserved(
        quantity_key=observable.key,
        value=None if (needs_event and event_step is None) or np.isnan(number) else number,
        cv=cv if np.isfinite(cv) else None,
        center=event_step
        if event_step is not None and observable.kind != "last"
        else int(step[row]),
        peak_step=int(step[row]),
        event_step=event_step,
        event=event,
        peak_energy=float(energies.max() - energies[0]),
        cut_off=event_step is not None and _ends_too_early(observable, step, last, row, steps),
    )


def _ends_too_early(
    observable: Observable, step: NDArray[np.float64], last: float, row: int, steps: int | None
) -> bool:
    """Whether the value was still growing, or the mean not complete, where the steps ended."""
    if observable.kind not in ("max", "min", "mean"):
        return False
    is_last_row = row == int(np.flatnonzero(step <= last)[-1])
    if observable.plus_steps == "slack":
        of_work = observable.kind == "max" and observable.column == "work"  # what a spring does
        return bool(last > step[-1]) and (of_work or is_last_row)
    if observable.plus_steps == "all":
        return steps is not None and bool(step[-1] < steps)
    return observable.kind != "mean" and observable.plus_steps > 0 and is_last_row


def _last_step(explore: Explore, table: Table, event_step: int, timestep: float) -> float:
    """Return the last step that counts, infinity for the whole run."""
    plus_steps = explore.observable.plus_steps
    if plus_steps == "all":
        return np.inf
    if plus_steps == "slack":  # of the spring of the input "pull"
        noise = thermal_noise(_of_pull(explore, "spring"), _of_pull(explore, "temperature"))
        tension = np.copysign(1.0, _of_pull(explore, "rate")) * table["force"]
        return slack_step(table["step"], tension, event_step, timestep=timestep, noise=noise)
    return event_step + plus_steps


def _of_pull(explore: Explore, variable: str) -> float:
    """Return a variable of the shipped pull, whose defaults are those of `[pull]`."""
    return float(explore.variables.get(variable, Pull.model_fields[variable].default))


def _event_step(rule: str, table: Table) -> int | None:
    """Return the step of an event that a column tells."""
    if rule == "none":
        return None
    extreme = re.fullmatch(r"(max|min)\(\s*(\w+)\s*\)", rule)
    if extreme is not None:
        values = np.where(np.isfinite(table[extreme.group(2)]), table[extreme.group(2)], np.nan)
        if np.isnan(values).all():
            return None
        best = np.nanargmax(values) if extreme.group(1) == "max" else np.nanargmin(values)
        return int(table["step"][best])
    column, sign, limit = re.split(r"\s*([<>])\s*", rule)
    beyond = table[column] > float(limit) if sign == ">" else table[column] < float(limit)
    return int(table["step"][np.argmax(beyond)]) if beyond.any() else None


def _decided(
    kind: str, values: np.ndarray[Any, Any], steps: np.ndarray[Any, Any], event_step: int | None
) -> tuple[float, int]:
    """Return the value and the row that decides it; rows that do not count are NaN."""
    if kind == "last":
        return float(values[-1]), len(values) - 1
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    if kind == "mean":
        return float(np.nanmean(values)), last
    if kind == "event" and event_step is not None:
        row = int(np.argmin(np.abs(steps - event_step)))
        return float(values[row]), row
    if kind in ("max", "min"):
        row = int(np.nanargmax(values) if kind == "max" else np.nanargmin(values))
        return float(values[row]), row
    return float(values[last]), last
