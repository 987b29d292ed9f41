"""Summary of a campaign before it runs."""

import math
import shutil
import tempfile
from pathlib import Path

from ase import Atoms

from ..config import Config, Observable, Run, Train
from ..electronic_state import state_of
from ..errors import ConfigError
from ..execution.choose import unused_machines
from ..exploration.exploration import SpringPull
from ..exploration.input_run import InputRun
from ..exploration.lammps_run import find_program
from ..exploration.try_input import try_exploration
from ..labelling.calculators import make_calculator, unlisted_arguments
from ..labelling.method import method_of
from ..structure import elements_of
from .context import System, systems_of
from .given_labels import labels_of_file, require_trained
from .reference import require_reference


def campaign_summary(config: Config) -> str:
    """Check structure, labeller and reference of a campaign; return a summary of a few lines.

    Raises
    ------
    AlrareError
        If the structure cannot be pulled, `lmp` is set and missing, the labeller's program,
        calculator or parameters are missing, `reference` names no campaign with a reference, or
        `[initial] data` or `relabel` name what is not there.
    """
    systems = systems_of(config)
    elements = elements_of(*(system.structure for system in systems))
    method = method_of(config.labeller, elements)
    with tempfile.TemporaryDirectory() as scratch:
        calculator = make_calculator(config.labeller, Path(scratch))
    unlisted = unlisted_arguments(calculator, config.labeller.arguments)
    if config.run.lmp != Run().lmp and shutil.which(find_program(config.run.lmp)) is None:
        raise ConfigError(
            f"lmp = '{config.run.lmp}': no such program ([run]); give the path of a LAMMPS"
            " that knows nnp_ensemble and al_select (`alrare check` tells)"
        )
    notes: list[str] = [unused_machines(config)]
    for system in systems:
        if isinstance(config.reference, Path):
            require_reference(config.reference / "reference" / system.subfolder)
        notes.append(try_exploration(system.exploration, system.structure, elements, config))
    given = 0
    for path in config.initial.data:
        if not path.is_file():
            raise ConfigError(f"data = '{path}': no such file ([initial])")
        given += len(labels_of_file(config, path, method.hash, elements))
    if config.initial.relabel is not None:
        require_trained(config.initial.relabel)
    initial = config.initial.steps // config.initial.stride
    initial += config.initial.at_rest + 1 if config.initial.at_rest else 0
    initial *= sum(not system.twin for system in systems)
    initial += given + (config.initial.relabel_count if config.initial.relabel is not None else 0)
    select = config.select
    new = select.max_per_iteration * (1 + config.augment.copies) + select.around_event
    named = ", ".join(
        f"{key} {value}"
        for key, value in method.description.items()
        if not isinstance(value, list | dict)
    )
    return (
        "".join(_of_system(config, system) for system in systems) + f"  labeller    {named}\n"
        f"  ensemble    {config.model.members} members{_of_family(config)},"
        f" {_passes(config.train)}, recipe {config.train.recipe}\n"
        f"  labels      {'up to ' if given else ''}{initial} initial, then up to {new} in each of"
        f" {config.iterations} iterations"
        + "".join(f"\n  WARNING     {note}" for note in notes if note)
        + (
            f"\n  WARNING     {type(calculator).__name__} lists no argument {', '.join(unlisted)}"
            " ([labeller] arguments) and may ignore it"
            if unlisted
            else ""
        )
    )


def _of_system(config: Config, system: System) -> str:
    """Return the two lines of a structure and what drives it."""
    atoms, driven = system.structure, system.exploration
    name = f"{system.name}, " if system.subfolder else ""
    periodic = "".join(axis for axis, flag in zip("xyz", atoms.pbc, strict=True) if flag)
    return (
        f"  structure   {name}{atoms.get_chemical_formula()}, {len(atoms)} atoms,"
        f" elements {' '.join(elements_of(atoms))}, {state_of(atoms)}"
        + (f", periodic along {periodic}\n" if periodic else "\n")
        + (_of_pull(config, driven, atoms) if isinstance(driven, SpringPull) else "")
        + (_of_input(driven) if isinstance(driven, InputRun) else "")
    )


def _of_pull(config: Config, driven: SpringPull, atoms: Atoms) -> str:
    pull = driven.pull
    first, second = (index - 1 for index in pull.atoms)
    start = math.dist(atoms.positions[first], atoms.positions[second])
    end = start + pull.rate * pull.steps * config.timestep * 1e-3
    return (
        f"  pull        atoms {first + 1} ({atoms.symbols[first]}) and {second + 1}"
        f" ({atoms.symbols[second]}) from {start:.2f} Å to about {end:.2f} Å,"
        f" {pull.steps} steps, seeds {' '.join(map(str, pull.seeds))}\n"
    )


def _of_input(driven: InputRun) -> str:
    explore = driven.explore
    observable = explore.observable
    return (
        f"  explore     {driven.main}: {observable.name} = {observable.value}"
        f" ± {observable.tolerance:g} {observable.unit}".rstrip()
        + f"{_until(observable)}, event {explore.event},"
        f" seeds {' '.join(map(str, explore.seeds))}\n"
    )


def _until(observable: Observable) -> str:
    """Say which steps count, if that matters."""
    if observable.kind not in ("max", "min", "mean"):
        return ""
    if observable.plus_steps == "slack":
        return " until the spring is slack"
    if observable.plus_steps == "all":
        return " of the whole run"
    return f" until {observable.plus_steps} steps after the event"


def _passes(train: Train) -> str:
    least = f", at least {train.min_steps} steps" if train.min_steps else ""
    return f"{train.epochs} epochs{least}"


def _of_family(config: Config) -> str:
    family = config.model.family
    return "" if family == type(config.model).model_fields["family"].default else f" of {family}"
