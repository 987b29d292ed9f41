"""What drives a system toward its rare event: the files of a run, and what it has observed.

A campaign and `alrare smd` know no springs and no cells: they ask an exploration for the input of a
seed, let LAMMPS run it by a model or by the labeller, and ask for the observables of what came out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms

from ..config import Pull, Select
from ..selection.settings import fix_columns, fix_command
from .event import Event
from .lammps_input import DATA_FILE, INPUT_FILE, WORK_FILE, data_text, pull_input
from .observables import is_decided, observe, thermal_noise
from .work import read_work


@dataclass(frozen=True)
class Quantity:
    """The observable that a campaign is about, and the curve that shows it."""

    name: str
    """In words: "activation energy"."""
    key: str
    """Its name in results.json: `activation_energy`."""
    symbol: str
    """For the heading of a column: "E_a"."""
    unit: str
    """"eV"; may be empty."""
    tolerance: float | None
    """Largest small change, in the unit; None: `[stop] tolerance`."""
    x: tuple[str, str]
    """Column of the table along which curves are drawn, and the label of the axis."""
    y: tuple[str, str]
    """Column that is drawn, and the label of the axis."""
    table: str
    """File name of the table of a run."""
    runs: str
    """The folder of a run is this word, an underscore and the seed."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for results.json."""
        return asdict(self)


class Observed(Protocol):
    """What was observed in a run."""

    @property
    def value(self) -> float | None:
        """The observable; None without the event that it needs."""

    @property
    def event(self) -> Event | None:
        """The first bond that broke or formed, where that is the event."""

    @property
    def event_step(self) -> int | None:
        """MD step of the event; None without one."""

    @property
    def peak_step(self) -> int:
        """MD step that decides the value."""

    @property
    def center(self) -> int:
        """MD step about which configurations are labelled: the event, or what decides the value."""

    @property
    def peak_energy(self) -> float:
        """Highest potential energy until the observable is decided, eV above the first."""

    @property
    def cut_off(self) -> bool:
        """Whether the value was still growing where the run or `plus_steps` ended."""

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers; the value stands under `Quantity.key`."""


def cut_off_sentence(n: int, of: int, observable: Mapping[str, Any]) -> str:
    """Say that the observable of some runs is cut off, and what to do.

    Parameters
    ----------
    n, of : int
        Runs whose value is cut off, and all runs.
    observable : mapping
        `Quantity.to_json()`.
    """
    if observable["runs"] == ACTIVATION_ENERGY.runs:
        ends = "the pull or plus_steps"
        cure = (
            'raise [pull] steps, and leave out a plus_steps other than "slack"; or, if its thermal'
            " noise hides when the spring is slack, lower temperature or spring"
        )
    else:
        ends = "the run or plus_steps"
        cure = (
            'raise plus_steps of the observable or, where it is "slack", the steps of the input'
            " ([[explore]] variables); or, if thermal noise hides when the spring of a pull is"
            " slack, lower its temperature or spring"
        )
    return (
        f"in {n} of {of} {observable['runs']}s the {observable['name']} was still growing where"
        f" {ends} ended: it is cut off there; {cure}"
    )


class Exploration(Protocol):
    """A LAMMPS input that is run once per seed, by the model and by the labeller."""

    @property
    def quantity(self) -> Quantity:
        """The observable."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """One run each."""

    @property
    def steps(self) -> int | None:
        """MD steps of a run; None if only LAMMPS knows."""

    @property
    def main(self) -> str:
        """File name of the input that LAMMPS starts with."""

    @property
    def atoms(self) -> tuple[int, ...]:
        """Atoms, from 1, that are driven: they are equivalent to each other only."""

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
        """Return all files of a run by name.

        Parameters
        ----------
        structure : Atoms
            The start, with a cell that LAMMPS takes.
        elements : sequence of str
            Element of each atom type.
        seed : int
        timestep : float, fs
        potential : str
            Commands that define the forces, after `read_data`; with a model also `compute uq`.
        select : Select or None
            The criterion of fix al_select; None: nothing is selected.
        by_model : bool
            Whether the forces are those of a model.
        """

    def settings(self) -> dict[str, Any]:
        """Return what decides a result, but structure, potential, seed and time step."""

    def unfinished(self, last: Mapping[str, float] | None) -> str:
        """Say how far a run came that ended without an error but too early; empty if it is whole.

        Parameters
        ----------
        last : mapping from str to float, or None
            Last row of the table; None if there is no row.
        """

    def is_decided(self, table: Path, event_step: int) -> bool:
        """Whether a run in progress need not go on, as nothing later changes what it observes.

        Parameters
        ----------
        table : Path
            The table of the run so far.
        event_step : int
            MD step of the first bond that broke or formed.
        """

    def observe(self, table: Path, frames: Sequence[Atoms]) -> Observed:
        """Return what a run has observed.

        Parameters
        ----------
        table : Path
            The table of the run.
        frames : sequence of Atoms
            Its configurations in order of step, with `info["step"]`.
        """


ACTIVATION_ENERGY = Quantity(
    name="activation energy",
    key="activation_energy",
    symbol="E_a",
    unit="eV",
    tolerance=None,
    x=("distance", "spring distance (Å)"),
    y=("work", "work (eV)"),
    table=WORK_FILE,
    runs="pull",
)
"""The observable of `[pull]`."""


@dataclass(frozen=True)
class SpringPull:
    """`[pull]`: a spring between two atoms is lengthened at a constant rate (paper, §2.2)."""

    pull: Pull
    timestep: float
    """MD time step, fs."""

    quantity = ACTIVATION_ENERGY
    main = INPUT_FILE

    @property
    def seeds(self) -> tuple[int, ...]:
        """One pull each."""
        return self.pull.seeds

    @property
    def steps(self) -> int:
        """Steps of the relaxation and of the pull."""
        return self.pull.relax_steps + self.pull.steps

    @property
    def atoms(self) -> tuple[int, ...]:
        """The two pulled atoms."""
        return self.pull.atoms

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
        """Return `molecule.data` and `in.smd`; see `Exploration.files`."""
        text = pull_input(
            potential=potential,
            pull=self.pull,
            seed=seed,
            timestep=timestep,
            watch="" if select is None else fix_command(select),
            columns=fix_columns(select) if by_model else None,
            dump_elements=elements if by_model else (),
            pbc=structure.pbc,
        )
        return {DATA_FILE: data_text(structure, elements), INPUT_FILE: text}

    def settings(self) -> dict[str, Any]:
        """See `Exploration.settings`."""
        return {"pull": self.pull.model_dump(mode="json", exclude={"seeds", "plus_steps"})}

    def unfinished(self, last: Mapping[str, float] | None) -> str:
        """See `Exploration.unfinished`."""
        if last is None:
            return "after no pull"
        done, steps = int(last["step"]), self.pull.steps
        return "" if done >= steps else f"after {done} of {steps} steps of the pull"

    def is_decided(self, table: Path, event_step: int) -> bool:
        """See `observables.is_decided`."""
        return is_decided(
            read_work(table), event_step,
            plus_steps=self.pull.plus_steps, timestep=self.timestep, noise=self._noise,
        )  # fmt: skip

    def observe(self, table: Path, frames: Sequence[Atoms]) -> Observed:
        """See `observables.observe`."""
        return observe(
            read_work(table), frames, plus_steps=self.pull.plus_steps, timestep=self.timestep,
            noise=self._noise, steps=self.pull.steps, pulled=self.pull.atoms,
        )  # fmt: skip

    @property
    def _noise(self) -> float:
        return thermal_noise(self.pull.spring, self.pull.temperature)
