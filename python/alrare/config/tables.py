"""The tables of al.toml: every key with its type, unit, meaning and default."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from ..units import KCAL_PER_MOL
from .arguments import (
    with_first_system,
    with_start_of_relabelled,
    with_state_of_arguments,
    with_tables,
    with_train,
)
from .cluster import Cluster
from .explore import Explore
from .labeller import Labeller
from .messages import tables_of
from .selection import Augment, Select
from .training import Model, Train, train_in_campaign
from .types import (
    Count,
    CountOrSlackOrAll,
    CountOrZero,
    Positive,
    Section,
    SetBy,
    WholeNumber,
    expand_numbers,
    matching,
)


class InitialData(Section):
    """The labeller's own MD at equilibrium: the first training data (paper, §2.2)."""

    temperature: Positive = 500.0
    """Temperature in K."""
    equilibration_steps: CountOrZero = 1000
    """MD steps before the first frame is kept."""
    steps: CountOrZero = 3000
    """MD steps during which frames are kept; 0: no MD (then `data` or `relabel` give the first
    data)."""
    stride: Count = 10
    """Keep every stride-th step: 3000 steps at stride 10 give 300 frames."""
    thin: Literal["none", "decorrelated"] = "none"
    """decorrelated: keep every g-th of these frames, where g is the statistical inefficiency of the
    forces. none: keep all."""
    at_rest: CountOrZero = 12
    """The relaxed structure and this many noisy copies of it join the first training data; 0: none
    of them. They tell the model the energy of the minimum, from which the barrier is measured."""
    damping_time: Positive = 0.1
    """Damping time of the thermostat in ps."""
    seed: Count = 1
    """Seed of the initial velocities and the thermostat's noise."""
    data: tuple[Path, ...] = ()
    """Files of labelled frames (extended XYZ, or any that ASE reads) that join the first training
    data, for instance those of another campaign. Relative to al.toml."""
    data_is_by_labeller: bool = False
    """Whether frames of `data` that do not say by which method they were labelled are by that of
    `[labeller]`."""
    relabel: Annotated[Path | None, Field(examples=["runs/cheaper"])] = None
    """Run folder of a campaign with a cheaper labeller: configurations that it trained on are
    labelled anew and join the first training data. Relative to al.toml."""
    relabel_count: Count = 100
    """Number of these configurations, chosen to differ most from each other."""

    @model_validator(mode="after")
    def _some_frame(self) -> "InitialData":
        if self.steps == 0 and not self.data and self.relabel is None:
            raise ValueError(
                "steps = 0: without MD the first training data must come from data or relabel"
            )
        if 0 < self.steps < self.stride:
            raise ValueError(
                f"stride = {self.stride}: expected at most steps = {self.steps}; no step would be"
                " kept"
            )
        return self


class Pull(Section):
    """Steered MD: a spring between two atoms is lengthened at a constant rate (paper, §2.2)."""

    atoms: Annotated[tuple[Count, Count], Field(examples=[[1, 6]])]
    """The two pulled atoms, counted from 1 as in LAMMPS. Required."""
    spring: Positive = 10.0
    """Spring constant in eV/Å²."""
    rate: Positive = 1.0
    """Pulling rate in Å/ps."""
    relax_steps: CountOrZero = 2000
    """MD steps with the thermostat alone before the pull."""
    steps: Annotated[WholeNumber, Field(ge=10)] = 6500
    """MD steps of the pull, at most; `alrare validate` prints the distance that it reaches."""
    temperature: Positive = 10.0
    """Temperature in K."""
    thermostat: Literal["berendsen", "langevin"] = "langevin"
    """langevin: pulls of model and labeller with the same seed feel the same noise. berendsen: the
    paper's thermostat."""
    damping_time: Positive = 0.1
    """Damping time of the thermostat in ps."""
    plus_steps: CountOrSlackOrAll = "slack"
    """The activation energy is the largest work until the spring has gone slack after the event,
    the first bond that breaks or forms: its tension, averaged over 75 fs, is below a tenth of the
    largest. A number: but no later than so many steps after the event; all: the largest
    work of the whole pull (paper)."""
    seeds: Annotated[tuple[Count, ...], BeforeValidator(expand_numbers), Field(min_length=1)] = (
        *range(1, 7),
    )
    """Seeds of the initial velocities and the noise, one pull per seed, the same for model and
    labeller; a list, or text such as "1-6"."""

    @model_validator(mode="after")
    def _distinct(self) -> "Pull":
        if self.atoms[0] == self.atoms[1]:
            raise ValueError(f"atoms = {list(self.atoms)}: the two pulled atoms must differ")
        if len(set(self.seeds)) != len(self.seeds):
            twice = next(seed for seed in self.seeds if self.seeds.count(seed) > 1)
            raise ValueError(f"seeds: every seed must be different, got {twice} twice")
        return self


class Stop(Section):
    """When a campaign ends before its last iteration; only the model's pulls and labels decide."""

    small_changes: CountOrZero = 2
    """Number of successive small changes of the activation energy after which the campaign may end;
    0: do all iterations (paper)."""
    tolerance: Positive = KCAL_PER_MOL
    """A change is small if its mean over the seeds and its standard error are below this, eV."""
    energy_error: Annotated[Positive | None, Field(examples=[0.02])] = None
    """The campaign ends only if the energy MAE around the event of the model's pulls is below this,
    eV; by default 1 meV per atom, at least 20 meV."""
    force_error: Positive = 0.05
    """The campaign ends only if the MAE of the force components there is below this, eV/Å."""

    def energy_limit(self, n_atoms: int) -> float:
        """Return `energy_error`, or its default for a structure of so many atoms, eV."""
        return max(0.02, 0.001 * n_atoms) if self.energy_error is None else self.energy_error


class Run(Section):
    """Programs, number of processes, and device."""

    lmp: str = "lmp"
    """The LAMMPS program; it must know nnp_ensemble and al_select (`alrare check` tests it)."""
    mpi_ranks: Count = 1
    """MPI ranks of each LAMMPS run; more than 1 are started by `launcher`."""
    launcher: Annotated[
        str,
        *matching(
            r"\S.*\{ranks\}.*", 'expected a command with {ranks}, "srun --overlap -n {ranks}"'
        ),
    ] = "mpiexec -n {ranks}"
    """The command before LAMMPS that starts it on so many ranks."""
    workers: CountOrZero = 0
    """Labels, members or pulls that run at a time, one thread each; 0: one per core."""
    executor: Literal["local", "mpi", "parsl"] = "local"
    """Where they run. local: in processes of this machine. mpi: on the ranks of
    `mpiexec -n N alrare run al.toml`, the first of which drives. parsl: in the jobs of
    `[cluster]`."""
    device: Annotated[
        str, *matching(r"auto|cpu|cuda(:\d+)?", 'expected "auto", "cpu", "cuda" or "cuda:N"')
    ] = "auto"
    """Where LAMMPS evaluates the ensemble: cpu, cuda or cuda:N; auto means cpu."""


_NAME = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "expected letters, digits, dots, hyphens and underscores, a letter or digit first",
)


Groups = dict[
    Annotated[
        str, *matching(r"[A-Za-z_]\w*", "expected letters, digits and underscores, a letter first")
    ],
    Annotated[tuple[Count, ...], Field(min_length=1)],
]


def _folder_or_none(value: Any) -> Any:
    if value is not None and (not isinstance(value, str | Path) or not str(value).strip()):
        raise ValueError('expected a run folder in quotes, or "none"')
    return value


class System(Section):
    """One of several molecules of a campaign, which one model learns together."""

    name: Annotated[str, *_NAME]
    """Its name: that of its folders and in the tables. Required."""
    structure: Path
    """As `structure`. Required."""
    atoms: tuple[Count, Count] | None = None
    """The two pulled atoms, as in `[pull]`. Required, but with `[[explore]]`."""
    groups: Groups = {}
    """As `groups`."""
    charge: WholeNumber | None = None
    """As `charge`."""
    multiplicity: Count | None = None
    """As `multiplicity`."""


class Config(Section):
    """A whole campaign."""

    name: Annotated[str, *_NAME, Field(examples=["hexane"])]
    """Name of the campaign; its run folder is runs/NAME. Required."""
    structure: Annotated[Path, Field(examples=["hexane.xyz"])]
    """File of the molecule to pull, any format that ASE reads; relative to al.toml. Required."""
    charge: Annotated[WholeNumber | None, Field(examples=[1])] = None
    """Total charge of the molecule, and of frames to label that state none. By default what the
    structure's file states, else 0."""
    multiplicity: Annotated[Count | None, Field(examples=[3])] = None
    """Spin multiplicity 2S + 1 of the same: the number of unpaired electrons plus 1. By default
    what the file states, else the lowest that the number of electrons allows."""
    system: Annotated[
        tuple[System, ...],
        SetBy("structure"),
        Field(examples=[[{"name": "C4", "structure": "butane.xyz", "atoms": [1, 4]}]]),
    ] = ()
    """Several molecules, each as a table `[[system]]` with `name`, `structure`, `atoms` and, if
    they are charged, `charge` and `multiplicity`; instead of `structure` and `[pull] atoms`. One
    model learns them all."""
    groups: Annotated[Groups, SetBy("explore"), Field(examples=[{"head": [1]}])] = {}
    """Groups of atoms, counted from 1, that an input of `[[explore]]` uses."""
    explore: Annotated[
        tuple[Explore, ...],
        SetBy("pull"),
        Field(examples=[[{"input": "stretch", "observable": {"tolerance": 1.0}}]]),
    ] = ()
    """LAMMPS inputs that drive the systems, each as a table `[[explore]]`; instead of `[pull]`.
    The keys of these tables are in docs/explore.md."""
    iterations: CountOrZero = 8
    """Largest number of iterations after the initial model, which is iteration 0 (see `[stop]`)."""
    seed: CountOrZero = 1
    """Seed of the splits, the initial weights and the noise of the copies."""
    timestep: Positive = 0.5
    """MD time step in fs."""
    forces: Literal["best", "mean"] = "mean"
    """Whose forces move the atoms: the mean of all members, or the best member (paper)."""
    reference: Annotated[
        Path | Literal["none"] | None,
        BeforeValidator(_folder_or_none),
        Field(examples=["runs/other"]),
    ] = None
    """Run folder of another campaign; the parts of its reference that were made with the same
    settings are copied. Relative to al.toml. none: the labeller does not pull, which costs the most
    labels of all; nothing then tells the error, and the campaign ends by its own labels."""

    labeller: Labeller = Labeller()
    initial: InitialData = InitialData()
    pull: Annotated[Pull | None, Field(validate_default=True)] = None
    model: Model = Model()
    train: Train = Train(**train_in_campaign({}))
    select: Select = Select()
    augment: Augment = Augment()
    stop: Stop = Stop()
    run: Run = Run()
    cluster: Cluster = Cluster()

    @model_validator(mode="before")
    @classmethod
    def _state_of_arguments(cls, values: Any) -> Any:
        return with_state_of_arguments(values)

    @field_validator("train", mode="before")
    @classmethod
    def _steps_in_campaign(cls, given: Any, info: ValidationInfo) -> Any:
        model = info.data.get("model")
        return train_in_campaign(given, "ani" if model is None else model.family)

    @model_validator(mode="before")
    @classmethod
    def _train_of_family(cls, values: Any) -> Any:
        return with_train(values)

    @model_validator(mode="before")
    @classmethod
    def _start_of_relabelled(cls, values: Any) -> Any:
        return with_start_of_relabelled(values)

    @model_validator(mode="after")
    def _can_start(self) -> "Config":
        if self.train.start == "relabelled" and self.initial.relabel is None:
            raise ValueError(
                'start = "relabelled": needs relabel, the campaign to start from ([initial])'
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _lists_of_tables(cls, values: Any) -> Any:
        return with_tables(values)

    @model_validator(mode="before")
    @classmethod
    def _first_of_systems(cls, values: Any) -> Any:
        return with_first_system(values)

    @field_validator("pull", mode="before")
    @classmethod
    def _pull_or_explore(cls, given: Any, info: ValidationInfo) -> Any:
        if given is None and not info.data.get("explore", True):
            raise ValueError("required, but not given: `atoms`, the two atoms to pull")
        return given

    @model_validator(mode="after")
    def _has_machines(self) -> "Config":
        if self.run.executor == "parsl":
            self.cluster.require_machines()
        return self

    @model_validator(mode="after")
    def _one_drive(self) -> "Config":
        if self.explore and self.pull is not None:
            raise ValueError(
                "[pull]: given beside [[explore]]; remove one of them: a campaign pulls two atoms,"
                " or runs the inputs of [[explore]]"
            )
        if not self.explore and self.groups:
            raise ValueError("groups: only inputs of [[explore]] use groups of atoms; remove them")
        for number, system in enumerate(self.system, start=1):
            if not self.explore and system.atoms is None:
                raise ValueError(f"system, value {number}.atoms: required, but not given")
            if self.explore and system.atoms is not None:
                raise ValueError(
                    f"system, value {number}.atoms: these are for [pull]; an input of [[explore]]"
                    " has groups = { head = [1] }"
                )
            if not self.explore and system.groups:
                raise ValueError(
                    f"system, value {number}.groups: only inputs of [[explore]] use them"
                )
        if self.explore and "tolerance" in self.stop.model_fields_set:
            raise ValueError(
                "[stop] tolerance: this is for [pull]; the observable of [[explore]] has a"
                " `tolerance` of its own, in its unit: remove this one"
            )
        titles = [explore.title for explore in self.explore]
        if len(set(titles)) != len(titles):
            twice = next(title for title in titles if titles.count(title) > 1)
            raise ValueError(
                f'explore: every name must be different, got "{twice}" twice; give each its `name`'
            )
        names = [system.name for system in self.systems]
        for explore in self.explore:
            unknown = next((name for name in explore.systems if name not in names), None)
            if unknown is not None:
                raise ValueError(
                    f"explore, systems: expected names of systems, {', '.join(names)}, got"
                    f' "{unknown}"'
                )
        return self

    @model_validator(mode="after")
    def _different_systems(self) -> "Config":
        names = [system.name for system in self.system]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f'system: every name must be different, got "{twice}" twice')
        return self

    @property
    def systems(self) -> tuple[System, ...]:
        """The molecules of the campaign; one, with the name of the campaign, without `system`."""
        return self.system or (
            System(
                name=self.name,
                structure=self.structure,
                atoms=self.pull.atoms if self.pull else None,
                groups=self.groups,
                charge=self.charge,
                multiplicity=self.multiplicity,
            ),
        )

    @model_validator(mode="after")
    def _can_stop(self) -> "Config":
        if self.stop.small_changes and not self.select.around_event:
            raise ValueError(
                "[stop] small_changes > 0 needs [select] around_event > 0: without labels around"
                " the event nothing tells a settled activation energy from a wrong one"
            )
        return self

    @model_validator(mode="after")
    def _can_select(self) -> "Config":
        adaptive = self.select.threshold == "adaptive" and self.select.relative is None
        if adaptive and self.pull and self.select.screening_steps >= self.pull.steps:
            raise ValueError(
                f"[select] screening_steps = {self.select.screening_steps}: expected less than"
                f" [pull] steps = {self.pull.steps}; no step would be left to select from"
            )
        return self


def tables() -> dict[str, type[Section]]:
    """Return the tables of al.toml by their names, in order."""
    return {name: table for name, table in tables_of(Config).items() if issubclass(table, Section)}
