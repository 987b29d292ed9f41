"""A small random model of each family, for tests that every family must pass, and their helpers."""

import numpy as np
from alrare.model.ensemble import Ensemble, Metadata, member_weights, stack_members
from alrare.model.schnet import SchNetShape
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

FAMILIES = ("ani", "schnet")
SMALL = SchNetShape(features=16, gaussians=12, interactions=2, cutoff=4.0)


def random_schnet(
    *, members: int = 3, elements: tuple[str, ...] = ("H", "C"), shape: SchNetShape = SMALL
) -> Ensemble:
    """Make an untrained SchNet ensemble."""
    metadata = Metadata(
        elements=elements,
        hidden={},
        self_energies=tuple(-13.6 * (k + 1) for k in range(len(elements))),
        members=members,
        best_member=1 % members,
        schnet=shape,
    )
    return Ensemble(metadata, stack_members([member_weights(metadata, m) for m in range(members)]))


def random_model(family: str) -> Ensemble:
    """Make an untrained ensemble of three members for H and C."""
    if family == "schnet":
        return random_schnet()
    plain = random_ensemble(
        members=3, hidden={"H": (32, 16)}, hidden_default=(16, 8), best_member=1
    )
    return Ensemble(plain.metadata, {name: 2.5 * w for name, w in plain.weights.items()})


def crystal() -> Atoms:
    """An ethane in a triclinic cell about as wide as the cutoffs."""
    atoms = molecule("C2H6")
    atoms.set_cell([[4.6, 0, 0], [1.1, 5.4, 0], [0.4, -0.9, 4.9]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    return atoms


def strain_slopes(calculator: Calculator, atoms: Atoms) -> list[float]:
    """Slopes of the energy by the strain over the volume, in ASE's order of the stress, eV/Å³."""
    slopes = []
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        energies = []
        for size in (2e-3, -2e-3):
            strain = np.eye(3)
            strain[a, b] += size / 2
            strain[b, a] += size / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(calculator.get_potential_energy(strained))
        slopes.append((energies[0] - energies[1]) / 4e-3 / atoms.get_volume())
    return slopes
