"""Summary of a campaign before it runs."""

import math

from ..config import Config
from ..electronic_state import state_of
from ..labelling.method import method_of
from ..structure import elements_of, load_structure


def campaign_summary(config: Config) -> str:
    """Check the structure and the labeller of a campaign; return a summary of a few lines.

    Raises
    ------
    AlrareError
        If the structure cannot be pulled, or the labeller's program or parameters are missing.
    """
    atoms = load_structure(config)
    elements = elements_of(atoms)
    method = method_of(config.labeller, elements)
    first, second = (index - 1 for index in config.pull.atoms)
    start = math.dist(atoms.positions[first], atoms.positions[second])
    end = start + config.pull.rate * config.pull.steps * config.timestep * 1e-3
    initial = config.initial.steps // config.initial.stride
    select = config.select
    new = select.max_per_iteration * (1 + config.augment.copies) + select.around_break
    named = ", ".join(
        f"{key} {value}"
        for key, value in method.description.items()
        if not isinstance(value, list | dict)
    )
    return (
        f"  structure   {atoms.symbols}, {len(atoms)} atoms, elements {' '.join(elements)},"
        f" {state_of(atoms)}\n"
        f"  pull        atoms {first + 1} ({atoms.symbols[first]}) and {second + 1}"
        f" ({atoms.symbols[second]}) from {start:.2f} Å to about {end:.2f} Å,"
        f" {config.pull.steps} steps, seeds {' '.join(map(str, config.pull.seeds))}\n"
        f"  labeller    {named}\n"
        f"  ensemble    {config.model.members} members, {config.train.epochs} epochs,"
        f" recipe {config.train.recipe}\n"
        f"  labels      {initial} initial, then up to {new} in each of {config.iterations}"
        " iterations"
    )
