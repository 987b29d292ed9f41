"""The stress of a label: of periodic configurations, where the labeller gives one."""

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.frames import labelled, read_frames, stress_of, write_frames
from alrare.labelling.batch import label
from alrare.labelling.calculators import evaluate_frame, evaluate_stress, make_calculator
from alrare.labelling.failures import LabelFailure
from alrare.labelling.store import STORE_FILE, LabelStore
from alrare.labelling.tblite import Tblite
from alrare.progress import SilentProgress
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones


def crystal() -> Atoms:
    """A sheared cell without symmetry."""
    cell = bulk("Cu", "fcc", a=3.5, cubic=True)
    cell.rattle(0.05, seed=1)
    shear = np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(3, 3))
    cell.set_cell(cell.cell.array @ shear, scale_atoms=True)
    return cell


class Answer(Calculator):
    """Gives energy, forces and whatever it is told to give as the stress."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, stress):
        super().__init__()
        self.stress, self.calls = stress, 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        if not isinstance(self.stress, type(None)):
            self.results["stress"] = self.stress


def evaluate(calculator, atoms):
    evaluate_frame(calculator, atoms, min_distance=0.5)
    return evaluate_stress(calculator, atoms)


@pytest.mark.slow
def test_the_stress_of_tblite_is_the_strain_derivative_of_its_energy():
    calculator = make_calculator(Labeller(method="GFN1-xTB"), None)
    cell = bulk("C", "diamond", a=3.4) * (2, 2, 2)
    cell.rattle(0.03, seed=1)
    stress = evaluate(calculator, cell)
    energies = []
    for strain in (5e-4, -5e-4):
        strained = cell.copy()
        shear = np.eye(3)
        shear[0, 1] = shear[1, 0] = strain / 2
        strained.set_cell(cell.cell.array @ shear, scale_atoms=True)
        energies.append(evaluate_frame(calculator, strained, min_distance=0.5)[0])
    assert stress[5] == pytest.approx((energies[0] - energies[1]) / 1e-3 / cell.get_volume(), 1e-3)


def test_an_ase_calculator_gives_its_stress_also_if_it_computes_it_on_request():
    for calculator in (EMT(), LennardJones(sigma=2.2)):
        cell = crystal()
        cell.calc = type(calculator)(**calculator.parameters)
        np.testing.assert_allclose(evaluate(calculator, cell), cell.get_stress(), atol=1e-12)


def test_molecules_and_calculators_without_stress_have_none():
    assert evaluate(LennardJones(), molecule("C2H6")) is None
    boxed = molecule("C2H6")
    boxed.cell = [9.0, 9.0, 9.0]  # stands in a box, but is not periodic
    assert evaluate(LennardJones(), boxed) is None
    assert evaluate(Answer(None), crystal()) is None
    silent = Answer(np.zeros(6))
    silent.implemented_properties = ["energy", "forces"]
    assert evaluate(silent, crystal()) is None


def test_a_stress_as_a_matrix_is_taken_in_ase_order():
    matrix = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(evaluate(Answer(matrix), crystal()), [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(
    ("stress", "said"),
    [
        (np.zeros(5), r"rejected: stress: expected \(6,\), got \(5,\)"),
        (np.full(6, np.nan), "unphysical: the stress is not finite"),
        ("none", "rejected: stress: expected"),
    ],
)
def test_a_stress_that_is_none_fails_the_label_in_a_sentence(stress, said):
    with pytest.raises(LabelFailure, match=said):
        evaluate(Answer(stress), crystal())


def test_a_calculator_that_refuses_its_stress_gives_none():
    class Refusing(Answer):
        def get_property(self, name, atoms=None, allow_calculation=True):
            if name == "stress":
                raise PropertyNotImplementedError("not in this mode")
            return super().get_property(name, atoms, allow_calculation)

    assert evaluate(Refusing(None), crystal()) is None


def test_labels_and_files_carry_the_stress(tmp_path):
    emt = Labeller(program="ase", calculator="ase.calculators.emt.EMT")
    frames = [crystal(), molecule("C2H6")]
    done = label(
        frames,
        labeller=emt,
        store_path=tmp_path / STORE_FILE,
        folder=tmp_path,
        workers=1,
        progress=SilentProgress(),
    )
    with LabelStore(tmp_path / STORE_FILE) as store:
        stored = store.frames(done.keys)
    reference = crystal()
    reference.calc = EMT()
    np.testing.assert_allclose(stress_of(stored[0]), reference.get_stress(), atol=1e-12)
    assert stress_of(stored[1]) is None and stress_of(crystal()) is None
    write_frames(tmp_path / "labels.extxyz", stored)
    cell, alone = read_frames(tmp_path / "labels.extxyz")
    np.testing.assert_array_equal(stress_of(cell), stress_of(stored[0]))
    assert stress_of(alone) is None


def test_a_labelled_frame_keeps_its_stress_to_the_last_bit(tmp_path):
    stress = np.arange(1.0, 7.0) / 3
    cell = labelled(crystal(), -1 / 3, np.ones((4, 3)) / 7, stress)
    write_frames(tmp_path / "a.extxyz", [cell])
    (read,) = read_frames(tmp_path / "a.extxyz")
    np.testing.assert_array_equal(stress_of(read), stress)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)])
def test_tblite_refuses_a_cell_that_it_would_take_for_another(pbc):
    sheet = graphene(size=(2, 2, 1), vacuum=10.0)
    sheet.pbc = pbc
    sheet.calc = Tblite(method="GFN1-xTB", verbosity=0)
    with pytest.raises(LabelFailure, match="periodic along x, y and z"):
        sheet.get_potential_energy()
