"""What the benchmarks of a step run on."""

from pathlib import Path

import numpy as np
from alrare import config
from alrare.model.ensemble import Ensemble, Metadata, member_weights, stack_members
from ase import Atoms
from ase.io import read

DYNAMICS = """
velocity all create 300.0 7
fix tether all spring/self 10.0
fix nve all nve
timestep 0.0005
thermo 1000000
"""
"""The MD of every benchmark; tethers keep untrained networks from taking the molecules apart."""
HEXANE = Path(__file__).parents[1] / "examples" / "hexane" / "hexane.xyz"
TABLE_1 = {"H": (256, 192, 160), "C": (224, 192, 160)}
"""Widths of the hidden layers of the paper's Table 1."""
DEFAULT = dict.fromkeys("HC", config.Model().hidden_default)
"""Widths of alrare's default networks."""


def hexane() -> Atoms:
    """Return the example's molecule, its center at the origin."""
    atoms: Atoms = read(HEXANE)
    atoms.positions -= atoms.positions.mean(axis=0)
    return atoms


def liquid() -> Atoms:
    """1,280 atoms at the density of liquid hexane, 216.6 Å³ a molecule."""
    out = Atoms(cell=(4 * 9.6, 4 * 4.75, 4 * 4.75), pbc=True)
    for site in np.ndindex(4, 4, 4):
        one = hexane()
        one.positions += (np.array(site) + 0.5) * (9.6, 4.75, 4.75)
        out += one
    out.rattle(0.05, seed=5)
    out.wrap()
    return out


def random_ensemble(hidden: dict[str, tuple[int, ...]], members: int) -> Ensemble:
    """Make an ensemble for H and C, with the descriptor of ANI-2x and random weights."""
    metadata = Metadata(
        elements=("H", "C"), hidden=hidden, self_energies=(-13.6, -1030.0), members=members
    )
    weights = stack_members([member_weights(metadata, seed) for seed in range(members)])
    return Ensemble(metadata, weights)
