"""The configuration of a campaign: al.toml, read once, strict, with units in every field."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of al.toml: unknown keys are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Labeller(Section):
    """The electronic-structure method that labels configurations."""

    program: Literal["tblite", "dftb+", "ase"] = "tblite"
    """tblite (needs no parameter files), dftb+ (a program on PATH), or ase: any ASE calculator."""
    method: str = "GFN2-xTB"
    """tblite: GFN2-xTB or GFN1-xTB. dftb+: DFTB3/3OB (complete, its default), or DFTB (plain)."""
    electronic_temperature: Positive = 300.0
    """Fermi temperature in K. Part of the method: labels of two temperatures are never mixed."""
    slater_koster: Path | None = None
    """dftb+ only: folder of the .skf files (3OB for DFTB3)."""
    scc_tolerance: Positive = 1e-8
    """dftb+ only: SCC tolerance in electrons."""
    scc_cycles: Count = 200
    """dftb+ only: SCC cycles after which a label counts as not converged."""
    third_order: Literal["full", "onsite", "no"] | None = None
    """dftb+ only: third-order correction; the method's own by default."""
    hubbard_derivatives: dict[str, float] = {}
    """dftb+ only: by element, in atomic units, before those of the method: `{ C = -0.1492 }`."""
    damping: Annotated[float, Field(ge=0)] | None = None
    """dftb+ only: exponent of the X-H damping, 0 for none; the method's own by default."""
    max_angular_momentum: dict[str, Literal["s", "p", "d", "f"]] = {}
    """dftb+ only: by element, before those of the method: `{ C = "p" }`."""
    kpoints: tuple[Count, Count, Count] = (1, 1, 1)
    """dftb+ only: Monkhorst-Pack grid; of cells that repeat only."""
    hamiltonian: str = ""
    """dftb+ only: further lines of its Hamiltonian block, such as dispersion."""
    engine: Literal["auto", "library", "socket", "process"] = "auto"
    """dftb+ only: how it is run; auto takes the first that works. Labels do not depend on it."""
    calculator: str | None = None
    """ase only: dotted path of the calculator class or function, e.g. `ase.calculators.emt.EMT`."""
    arguments: dict[str, Any] = {}
    """ase only: keyword arguments of the calculator."""
    min_distance: Positive = 0.5
    """A label whose closest pair of atoms is nearer than this (Å) is refused as unphysical."""
    timeout: Positive = 300.0
    """Seconds after which one label counts as failed; its process is ended."""
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A campaign stops when more than this share of an iteration's labels fails."""

    @model_validator(mode="before")
    @classmethod
    def _method_of_program(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("program") == "dftb+":
            return {"method": "DFTB3/3OB", **values}
        return values

    @model_validator(mode="after")
    def _complete(self) -> "Labeller":
        if self.program == "ase" and self.calculator is None:
            raise ValueError(
                "program = 'ase' needs `calculator`, the dotted path of an ASE calculator"
            )
        if self.program == "dftb+" and self.slater_koster is None:
            raise ValueError(
                "program = 'dftb+' needs `slater_koster`, the folder of the .skf files"
            )
        known = {"tblite": ("GFN2-xTB", "GFN1-xTB"), "dftb+": ("DFTB3/3OB", "DFTB")}
        if self.method not in known.get(self.program, (self.method,)):
            names = " or ".join(known[self.program])
            raise ValueError(f"method = '{self.method}': expected {names} for {self.program}")
        return self


class InitialData(Section):
    """The labeller's own MD at equilibrium: the first training data (paper, §2.2)."""

    temperature: Positive = 500.0
    """K."""
    equilibration_steps: Annotated[int, Field(ge=0)] = 1000
    """MD steps before the first frame is kept."""
    steps: Count = 2000
    """MD steps during which frames are kept."""
    stride: Count = 1
    """Keep every stride-th step: 2000 steps at stride 1 are the paper's 2000 frames."""
    thin: Literal["none", "decorrelated"] = "none"
    """decorrelated: of the kept ones count only as many as their forces are independent."""
    at_rest: Annotated[int, Field(ge=0)] = 12
    """Noisy copies of the relaxed structure that join, and it too: they fix the energy at rest."""
    damping: Positive = 0.1
    """Damping time of the thermostat in ps."""
    seed: Count = 1
    """Seed of the initial velocities."""


class Pull(Section):
    """Steered MD: a spring between two atoms that grows at a constant rate (paper, §2.2)."""

    atoms: tuple[Count, Count] = (1, 6)
    """The two pulled atoms, counted from 1 as in LAMMPS."""
    spring: Positive = 10.0
    """Spring constant in eV/Å²."""
    rate: Positive = 1.0
    """Pulling rate in Å/ps."""
    relax_steps: Annotated[int, Field(ge=0)] = 2000
    """Steps with the thermostat alone before the pull."""
    steps: Count = 6500
    """Steps of the pull."""
    temperature: Positive = 10.0
    """K."""
    thermostat: Literal["berendsen", "langevin"] = "langevin"
    """langevin lets two potentials share their noise, seed by seed; berendsen is the paper's."""
    damping: Positive = 0.1
    """Damping time of the thermostat in ps."""
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2)
    """One pull for each seed (velocities and noise); model and reference use the same seeds."""

    @model_validator(mode="after")
    def _distinct(self) -> "Pull":
        if self.atoms[0] == self.atoms[1]:
            raise ValueError(f"atoms = {list(self.atoms)}: the two pulled atoms must differ")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)}: every seed must be different")
        return self


class Model(Section):
    """The ensemble of ANI networks (paper, §2.3.1 and Table 1)."""

    members: Annotated[int, Field(ge=2)] = 3
    """Networks in the ensemble; the uncertainty is their standard deviation."""
    hidden: dict[str, tuple[Count, ...]] = {"H": (256, 192, 160)}
    """Hidden layers by element; elements not named take `hidden_default`."""
    hidden_default: tuple[Count, ...] = (224, 192, 160)
    """Hidden layers of every other element."""


_RECIPES: dict[str, dict[str, float]] = {
    "paper": {
        "epochs": 300,
        "min_steps": 0,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "force_weight": 0.1,
    },
    "fast": {
        "epochs": 20,
        "min_steps": 1200,
        "batch_size": 32,
        "learning_rate": 1e-2,
        "force_weight": 1.0,
    },
}


class Train(Section):
    """How each member is fitted. The recipe sets what is not given here."""

    recipe: Literal["paper", "fast"] = "paper"
    """paper: Adam at a constant rate. fast: whitened descriptor, SOAP, one-cycle rate."""
    epochs: Count = 300
    """Passes over the training data; the best epoch is kept (paper: 300, fast: 20)."""
    min_steps: Annotated[int, Field(ge=0)] = 0
    """More epochs until so many steps (paper: 0; fast: 1200, and 0 where epochs are given)."""
    batch_size: Count = 64
    """Configurations per step (paper: 64, fast: 32)."""
    learning_rate: Positive = 1e-3
    """Constant rate of paper (1e-3), highest rate of fast (1e-2)."""
    force_weight: Annotated[float, Field(ge=0)] = 0.1
    """The α of eq. 3 (paper: 0.1, fast: 1.0)."""
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Share of the configurations that trains; the rest validates."""
    split: Literal["random", "inherited"] = "inherited"
    """random: a new split every iteration. inherited: old data keep their roles (§2.3.6)."""
    start: Literal["random", "previous"] = "random"
    """Weights to start from: random ones, or those of the previous iteration's model."""
    tensorboard: bool = False
    """Write TensorBoard event files too; needs the package tensorboard."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, given: Any) -> Any:
        recipe = given.get("recipe", "paper") if isinstance(given, dict) else None
        if recipe not in _RECIPES:
            return given
        exact: dict[str, float] = {"min_steps": 0} if "epochs" in given else {}
        return _RECIPES[recipe] | exact | given


class Select(Section):
    """Which configurations of a pull deserve a label (paper, §2.3.2 and §2.3.3)."""

    uncertainty: Literal["energy", "force"] = "energy"
    """What is judged: energy_std in eV (paper), or force_std, the largest of an atom, in eV/Å."""
    sigma: Positive = 3.0
    """The threshold is mean + sigma · std of the uncertainty over the first `screening_steps`."""
    screening_steps: Count = 1000
    """Steps from which the adaptive threshold is made."""
    threshold: Positive | None = None
    """A fixed threshold instead of the adaptive one, eV (force: eV/Å)."""
    relative: Positive | None = None
    """Threshold = this times the strain energy so far (force: the largest force) instead."""
    relative_floor: Positive | None = None
    """Smallest size that `relative` multiplies, eV (force: eV/Å)."""
    energy_gap: Annotated[float, Field(ge=0)] = 0.0434
    """Smallest energy difference to every chosen configuration, eV (1 kcal/mol)."""
    cv_gap: Annotated[float, Field(ge=0)] = 0.01
    """Smallest spring-distance difference to every chosen configuration, Å."""
    gap_steps: Annotated[int, Field(ge=0)] = 0
    """So many MD steps after the last chosen one both gaps are met; 0: never (paper)."""
    max_per_run: Count = 50
    """Candidates one pull may write."""
    max_per_iteration: Count = 50
    """Candidates labelled in an iteration, from all its pulls."""
    strategy: Literal["paper", "spread"] = "paper"
    """paper: first come, first taken. spread: evenly over the spring distance."""
    after_break: Annotated[int, Field(ge=0)] | None = None
    """MD steps after the first broken bond up to which candidates are taken; all if not set."""
    around_break: Annotated[int, Field(ge=0)] = 0
    """Configurations around the break of the iteration's pulls that are labelled, certain or not.
    They show what the potential is worth where it matters (`[stop]`), and are trained on."""
    before: Count = 400
    """MD steps before the break from which those are taken."""
    after: Count = 200
    """MD steps after the break up to which those are taken."""
    upper: Positive | None = None
    """An uncertainty above this, eV (force: eV/Å), is unphysical: counted, never labelled."""
    min_distance: Positive = 0.5
    """Frames with two atoms nearer than this (Å) are unphysical: counted, never labelled."""

    max_force: Positive = 10.0
    """New labels with a larger force on an atom (eV/Å) are kept, but not trained on: they come from
    a pull that blew up, and a few of them spoil the fit of all others."""
    max_energy: Positive = 10.0
    """The same for labels this much (eV) above the relaxed structure; 0.05 Å of noise takes about
    0.1 eV an atom, a bond up to 7 eV."""

    @model_validator(mode="after")
    def _one_threshold(self) -> "Select":
        lowest = self.threshold
        if (self.relative is None) != (self.relative_floor is None):
            raise ValueError(
                "relative and relative_floor go together: give both, or neither"
                f" (got relative = {self.relative}, relative_floor = {self.relative_floor})"
            )
        if self.relative is not None and self.relative_floor is not None:
            if self.threshold is not None:
                raise ValueError("threshold and relative exclude each other: remove one of them")
            lowest = self.relative * self.relative_floor
        if self.upper is not None and lowest is not None and self.upper <= lowest:
            raise ValueError(
                f"upper = {self.upper:g}: must be larger than the threshold, which is"
                f" {'at least ' if self.relative else ''}{lowest:g}"
            )
        return self


class Augment(Section):
    """Noisy copies of each selected configuration (paper, §2.3.4)."""

    copies: Annotated[int, Field(ge=0)] = 2
    """Copies of each selected configuration."""
    amplitude: Annotated[float, Field(ge=0)] = 0.05
    """Uniform noise of ± this on every coordinate, Å."""
    iterations: Annotated[int, Field(ge=0)] | None = None
    """Copies are made in the first so many iterations only; in all if not set (paper)."""


class Stop(Section):
    """When a campaign ends before its last iteration, by the model's pulls and labels alone."""

    iterations: Annotated[int, Field(ge=0)] = 0
    """Changes of the activation energy in a row that must be small; 0: never end early (paper)."""
    tolerance: Positive = 0.0434
    """A change, mean over the seeds, is small when it and its standard error are below this, eV."""
    energy_error: Positive = 0.02
    """Mean absolute energy error allowed around the break of the model's own pulls, eV."""
    force_error: Positive = 0.05
    """Mean absolute error of the force components that is allowed there, eV/Å."""


class Run(Section):
    """Where and how wide the work runs."""

    lmp: str = "lmp"
    """The LAMMPS program; one that knows nnp_ensemble and al_select (`alrare check` tells)."""
    mpi_ranks: Count = 1
    """Ranks of each LAMMPS run; above 1 it is started by `mpiexec -n`."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Tasks at a time (labels, members, pulls), one thread each; 0 means one for each core."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """Where LAMMPS evaluates the ensemble: cpu (or auto, the same), cuda or cuda:N."""


class Config(Section):
    """A whole campaign."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the campaign: its run folder is runs/NAME."""
    structure: Path
    """The molecule to pull: any file ASE reads. Relative to al.toml."""
    iterations: Annotated[int, Field(ge=0)] = 10
    """Active-learning iterations after the initial model (iteration 0)."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of everything random outside the pulls: splits, weights, noise."""
    timestep: Positive = 0.5
    """MD time step in fs."""
    forces: Literal["best", "mean"] = "best"
    """Whose forces drive the pull: the best member (paper) or the mean of the ensemble."""
    reference: Path | None = None
    """Run folder of another campaign whose reference is used where it fits; relative to al.toml."""

    labeller: Labeller = Labeller()
    initial: InitialData = InitialData()
    pull: Pull = Pull()
    model: Model = Model()
    train: Train = Train()
    select: Select = Select()
    augment: Augment = Augment()
    stop: Stop = Stop()
    run: Run = Run()

    @model_validator(mode="after")
    def _can_stop(self) -> "Config":
        if self.stop.iterations and not self.select.around_break:
            raise ValueError(
                "[stop] iterations > 0 needs [select] around_break > 0: without labels around the"
                " break nothing tells a settled activation energy from a wrong one"
            )
        return self


def load_config(path: Path) -> Config:
    """Read and check a campaign's configuration.

    Paths inside the file are taken relative to the file's own folder.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or holds a key or value that is not allowed; the
        message names each key, what was expected and what came.
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


def parse_config(content: dict[str, Any], *, folder: Path, source: str) -> Config:
    """Check configuration values; relative paths are taken from `folder`.

    Raises
    ------
    ConfigError
        As `load_config`; `source` names where the values came from.
    """
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(entry, source) for entry in error.errors())) from error
    labeller = config.labeller
    if labeller.slater_koster is not None:
        folder_of_files = (folder / labeller.slater_koster.expanduser()).resolve()
        labeller = labeller.model_copy(update={"slater_koster": folder_of_files})
    paths = {"structure": (folder / config.structure.expanduser()).resolve()}
    if config.reference is not None:
        paths["reference"] = (folder / config.reference.expanduser()).resolve()
    return config.model_copy(update={**paths, "labeller": labeller})


def _explain(entry: Any, source: str) -> str:
    *tables, key = [str(part) for part in entry["loc"]] or [source]
    where = f"({source}, [{'.'.join(tables)}])" if tables else f"({source})"
    if entry["type"] == "extra_forbidden":
        return (
            f"{key}: unknown key; remove it or see `alrare schema` for the keys that exist {where}"
        )
    if entry["type"] == "missing":
        return f"{key}: required, but not given {where}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    return f"{key} = {entry['input']!r}: {message[0].lower()}{message[1:]} {where}"
