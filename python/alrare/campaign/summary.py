"""Summary of a campaign before it runs."""

import math
import shutil
import tempfile
from pathlib import Path

from ase import Atoms

from ..config import Config, Run, System
from ..electronic_state import state_of
from ..errors import ConfigError
from ..exploration.lammps_run import find_program
from ..labelling.calculators import make_calculator, unlisted_arguments
from ..labelling.method import method_of
from ..structure import elements_of
from .context import systems_of
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
    structures = [system.structure for system in systems_of(config)]
    elements = elements_of(*structures)
    method = method_of(config.labeller, elements)
    with tempfile.TemporaryDirectory() as scratch:
        calculator = make_calculator(config.labeller, Path(scratch))
    unlisted = unlisted_arguments(calculator, config.labeller.arguments)
    if config.run.lmp != Run().lmp and shutil.which(find_program(config.run.lmp)) is None:
        raise ConfigError(
            f"lmp = '{config.run.lmp}': no such program ([run]); give the path of a LAMMPS"
            " that knows nnp_ensemble and al_select (`alrare check` tells)"
        )
    for system in config.systems:
        if isinstance(config.reference, Path):
            subfolder = system.name if config.system else ""
            require_reference(config.reference / "reference" / subfolder)
    given = 0
    for path in config.initial.data:
        if not path.is_file():
            raise ConfigError(f"data = '{path}': no such file ([initial])")
        given += len(labels_of_file(config, path, method.hash, elements))
    if config.initial.relabel is not None:
        require_trained(config.initial.relabel)
    initial = config.initial.steps // config.initial.stride
    initial += config.initial.at_rest + 1 if config.initial.at_rest else 0
    initial *= len(structures)
    initial += given + (config.initial.relabel_count if config.initial.relabel is not None else 0)
    select = config.select
    new = select.max_per_iteration * (1 + config.augment.copies) + select.around_event
    named = ", ".join(
        f"{key} {value}"
        for key, value in method.description.items()
        if not isinstance(value, list | dict)
    )
    systems = zip(config.systems, structures, strict=True)
    return (
        "".join(_of_system(config, system, atoms) for system, atoms in systems)
        + f"  labeller    {named}\n"
        f"  ensemble    {config.model.members} members, {config.train.epochs} epochs,"
        f" recipe {config.train.recipe}\n"
        f"  labels      {initial} initial, then up to {new} in each of {config.iterations}"
        " iterations"
        + (
            f"\n  WARNING     {type(calculator).__name__} lists no argument {', '.join(unlisted)}"
            " ([labeller] arguments) and may ignore it"
            if unlisted
            else ""
        )
    )


def _of_system(config: Config, system: System, atoms: Atoms) -> str:
    """Return the two lines of a molecule and its pull."""
    first, second = (index - 1 for index in system.atoms)
    start = math.dist(atoms.positions[first], atoms.positions[second])
    end = start + config.pull.rate * config.pull.steps * config.timestep * 1e-3
    name = f"{system.name}, " if config.system else ""
    return (
        f"  structure   {name}{atoms.get_chemical_formula()}, {len(atoms)} atoms,"
        f" elements {' '.join(elements_of(atoms))}, {state_of(atoms)}\n"
        f"  pull        atoms {first + 1} ({atoms.symbols[first]}) and {second + 1}"
        f" ({atoms.symbols[second]}) from {start:.2f} Å to about {end:.2f} Å,"
        f" {config.pull.steps} steps, seeds {' '.join(map(str, config.pull.seeds))}\n"
    )
