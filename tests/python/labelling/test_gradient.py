"""Whether forces are minus the gradient of the energy: what is told apart, and when it is asked."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import LabelError
from alrare.labelling.batch import label
from alrare.labelling.gradient import Step, contradiction, displaced, energy_changes
from alrare.labelling.store import STORE_FILE, LabelStore
from alrare.units import BOHR, HARTREE
from ase import Atoms
from ase.build import molecule

HERE = Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("bad_calculator", HERE / "bad_calculator.py")
BAD = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(BAD)
springs = BAD.springs


def judged(atoms, spoil):
    """Judge springs whose energy and forces are spoiled."""
    before, after = displaced(atoms)
    steps = [Step(*spoil(*springs(frame))) for frame in (before, atoms, after)]
    return contradiction(*energy_changes(*steps), len(atoms))


def at_rest():
    """Return a tetrahedron at the minimum of the springs."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return Atoms("CH3", 1.5 / np.sqrt(8) * corners)


FRAMES = pytest.mark.parametrize("atoms", [molecule("C2H6"), at_rest()], ids=["slope", "minimum"])


@FRAMES
def test_a_gradient_is_accepted_on_a_slope_and_at_a_minimum(atoms):
    assert judged(atoms, lambda e, f: (e, f)) == ""
    assert judged(atoms, lambda e, f: (e + 1e5, f)) == ""


def test_numerical_noise_is_accepted():
    rng = np.random.default_rng(1)

    def noisy(energy, forces):
        return energy + rng.normal(0, 5e-4), forces + rng.normal(0, 3e-3, forces.shape)

    assert judged(molecule("C2H6"), noisy) == ""


@FRAMES
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda e, f: (e, -f), "they are the gradient, not minus the gradient: flip their sign"),
        (lambda e, f: (e / HARTREE, f), "the energy is in Hartree and the forces are in eV/Å"),
        (lambda e, f: (e / HARTREE, -f), "the energy is in Hartree.* with the wrong sign"),
        (lambda e, f: (2 * e / HARTREE, f), "the energy is in Rydberg"),
        (lambda e, f: (e / 0.043364, f), "the energy is in kcal/mol"),
        (lambda e, f: (e / 0.010364, f), "the energy is in kJ/mol"),
        (lambda e, f: (e, f * BOHR / HARTREE), "the forces are in Hartree/Bohr"),
        (lambda e, f: (e, f / HARTREE), "the forces are in Hartree/Å"),
        (lambda e, f: (e, f * BOHR), "the forces are per Bohr instead of per Å"),
        (lambda e, f: (e, 0 * f), "the forces are all zero"),
    ],
)
def test_a_wrong_sign_or_unit_is_named(atoms, spoil, cause):
    said = judged(atoms, spoil)
    assert said.startswith("where an atom moves by some 0.02 Å, the energy changes by ")
    assert all(part in said for part in cause.split(".*"))


def test_an_energy_per_atom_is_named():
    assert "the energy is per atom" in judged(molecule("C2H6"), lambda e, f: (e / 8, f))


def test_forces_of_another_energy_are_named():
    other = np.random.default_rng(1).normal(size=(8, 3))
    said = judged(molecule("C2H6"), lambda e, f: (e, f + other))
    assert "the forces are not those of this energy" in said


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Label ethanes with the calculator that is spoiled in one way."""
    monkeypatch.syspath_prepend(HERE)

    def label_ethanes(mode, count=3, **options):
        frames = []
        for number in range(count):
            frames.append(molecule("C2H6"))
            frames[-1].positions *= 1 + 0.01 * number
        return label(
            frames,
            labeller=Labeller(
                program="ase",
                calculator="bad_calculator.Bad",
                arguments={"mode": mode, "log": f"{tmp_path}/log"},
            ),
            folder=tmp_path / "labels",
            workers=1,
            **options,
        )

    return label_ethanes


def calls(tmp_path):
    return len((tmp_path / "log").read_text().splitlines())


@pytest.mark.slow
def test_a_method_is_checked_by_two_more_labels_once(tmp_path, run):
    assert len(run("good", 2).keys) == 2
    assert calls(tmp_path) == 4
    assert run("good", 3).computed == 1
    assert calls(tmp_path) == 5
    with LabelStore(tmp_path / "labels" / STORE_FILE) as store:
        assert store.counts() == {"ok": 3}
        assert [store.check(method) for method in store.methods()] == [""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "cause"), [("gradient", "flip their sign"), ("hartree", "the energy is in Hartree")]
)
def test_a_labeller_with_a_wrong_sign_or_unit_is_refused_until_it_is_another_method(
    tmp_path, run, mode, cause
):
    with pytest.raises(LabelError, match=f"not minus the gradient of its energy: .*{cause}"):
        run(mode)
    first = calls(tmp_path)
    with pytest.raises(LabelError, match=cause):
        run(mode, 4)
    assert calls(tmp_path) == first
    with pytest.raises(LabelError, match=cause):
        run(mode, 4, retry=True)
    assert calls(tmp_path) > first
    assert len(run("good").keys) == 3


@pytest.mark.slow
def test_a_single_atom_is_labelled_without_a_check(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    bad = Labeller(program="ase", calculator="bad_calculator.Bad", arguments={"mode": "gradient"})
    done = label([Atoms("H")], labeller=bad, folder=tmp_path, workers=1)
    assert len(done.keys) == 1
