"""Labels that cannot be in eV and Å are refused before a network learns them."""

from collections.abc import Callable

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import label_of, labelled
from alrare.training.plausibility import check_plausible, magnitudes
from ase import Atoms, units
from ase.build import molecule
from tblite.ase import TBLite

Change = Callable[[Atoms], Atoms]


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    """Methanol by GFN2-xTB, its atoms moved and the molecule turned at random."""
    made = []
    calculator = TBLite(verbosity=0)
    rng = np.random.default_rng(1)
    for seed in range(30):
        atoms = molecule("CH3OH")
        atoms.rattle(0.04, seed=seed)
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        calculator.reset()
        calculator.calculate(atoms)
        made.append(labelled(atoms, calculator.results["energy"], calculator.results["forces"]))
    return made


def scaled(*, energy: float = 1.0, forces: float = 1.0, positions: float = 1.0) -> Change:
    """Return a function that writes a frame in other units."""

    def change(frame: Atoms) -> Atoms:
        old_energy, old_forces = label_of(frame)
        other = Atoms(frame.numbers, frame.positions * positions)
        return labelled(other, old_energy * energy, old_forces * forces)

    return change


HARTREE, KCAL = 1 / units.Hartree, units.mol / units.kcal
WRONG: dict[str, tuple[Change, str]] = {
    "gradients": (scaled(forces=-1), "gradients, of the opposite sign"),
    "all in hartree and bohr": (
        scaled(energy=HARTREE, forces=HARTREE * units.Bohr, positions=1 / units.Bohr),
        "positions may be in bohr",
    ),
    "hartree, forces per bohr": (
        scaled(energy=HARTREE, forces=HARTREE * units.Bohr),
        "hartree/bohr",
    ),
    "hartree, forces per Å": (scaled(energy=HARTREE, forces=HARTREE), "hartree/Å"),
    "only energies in hartree": (scaled(energy=HARTREE), "energies may be in hartree"),
    "kcal/mol": (scaled(energy=KCAL, forces=KCAL), "kcal/mol/Å"),
    "only energies in kcal/mol": (scaled(energy=KCAL), "energies may be in kcal/mol"),
    "forces per bohr": (scaled(forces=units.Bohr), "forces may be in eV/bohr"),
    "forces converted twice": (scaled(forces=1 / units.Bohr), "multiplied by 1.89"),
    "positions in bohr": (scaled(positions=1 / units.Bohr), "positions may be in bohr"),
    "forces that are all zero": (scaled(forces=0), "all forces are zero"),
    "energies that are all equal": (scaled(energy=0), "are equal, so they are no energies"),
    "positions in nm": (scaled(positions=0.1), "positions may be in nm"),
}


def test_right_labels_pass_and_are_summed_up(frames: list[Atoms]) -> None:
    sizes = check_plausible(frames)
    assert sizes.stiffness is not None and 15 < sizes.stiffness < 60
    assert sizes.work == pytest.approx(1.0, abs=0.3)
    assert sizes.bonded is not None and 0.7 < sizes.bonded < 1.1
    assert sizes.sentence().startswith("energies within ")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_units_are_named(frames: list[Atoms], name: str) -> None:
    change, cause = WRONG[name]
    with pytest.raises(AlrareError, match=cause) as caught:
        check_plausible([change(frame) for frame in frames])
    assert "--any-units" in str(caught.value)


def test_a_factor_is_not_judged_where_frames_are_far_apart(frames: list[Atoms]) -> None:
    far = []
    calculator = TBLite(verbosity=0)
    for seed in range(30):
        atoms = molecule("CH3OH")
        atoms.set_dihedral(2, 0, 1, 3, 12.0 * seed, indices=[3])
        atoms.rattle(0.15, seed=seed)
        calculator.reset()
        calculator.calculate(atoms)
        far.append(labelled(atoms, calculator.results["energy"], calculator.results["forces"]))
    check_plausible(far)


def test_a_huge_force_is_told_with_its_frame(frames: list[Atoms]) -> None:
    bad = scaled(forces=1e4)(frames[3])
    with pytest.raises(AlrareError, match=r"^frame 4 \(CH4O\): a force of .* is impossible"):
        check_plausible([*frames[:3], bad, *frames[4:]])


def test_the_binding_energy_is_judged_where_isolated_atoms_are_known(frames: list[Atoms]) -> None:
    isolated = {"H": -10.7, "C": -48.9, "O": -102.6}
    check_plausible(frames, isolated=isolated)
    with pytest.raises(AlrareError, match="per atom above the isolated atoms'"):
        check_plausible(frames, isolated={key: 23 * value for key, value in isolated.items()})


def test_what_says_too_little_is_not_judged() -> None:
    argon = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.8]])
    sizes = check_plausible([labelled(argon, -1.0, np.zeros((2, 3)))])
    assert sizes.stiffness is None and sizes.work is None
    one = magnitudes([labelled(molecule("CH4"), -1.0, np.zeros((5, 3)))])
    assert one.stiffness is None and one.work is None
