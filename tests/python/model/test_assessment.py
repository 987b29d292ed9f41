"""Errors in detail, by hand and as a figure."""

from pathlib import Path

import numpy as np
import pytest
from alrare.cli.accuracy_table import accuracy_table
from alrare.frames import label_of, labelled
from alrare.model.accuracy import Comparison
from alrare.model.assessment import assess, plot_assessment
from ase import Atoms
from ase.build import molecule
from PIL import Image


def frames() -> list[Atoms]:
    """Label three of methane and one of ethane; every force along x but those of carbon."""
    made = []
    for number, name in enumerate(["CH4", "CH4", "CH4", "C2H6"]):
        atoms = molecule(name)
        forces = np.zeros((len(atoms), 3))
        forces[atoms.numbers == 1, 0] = 2.0
        made.append(labelled(atoms, -10.0 - number, forces))
        made[-1].info["config_type"] = "hot" if number == 1 else "cold"
    return made


def comparison() -> Comparison:
    """Model energies off by 1, 2, 6 and 9 eV; forces on hydrogen by 2 eV/Å along y."""
    errors = []
    for atoms in frames():
        error = np.zeros((len(atoms), 3))
        error[atoms.numbers == 1, 1] = 2.0
        errors.append(error)
    energy = np.array([1.0, 2.0, 6.0, 9.0])
    formulas = tuple(atoms.get_chemical_formula() for atoms in frames())
    return Comparison(energy, errors, energy, errors, np.ones(4), errors, formulas, 4 * (None,))


def test_errors_are_those_found_by_hand() -> None:
    found = assess(comparison(), frames())
    assert found.relative_energy is not None and found.relative_energy_per_atom is not None
    assert found.relative_energy.n == 3  # the one ethane has no other to compare with
    assert found.relative_energy.mae == pytest.approx((2.0 + 1.0 + 3.0) / 3)
    assert found.relative_energy.rmse == pytest.approx(np.sqrt((4.0 + 1.0 + 9.0) / 3))
    assert found.relative_energy_per_atom.mae == pytest.approx(found.relative_energy.mae / 5)
    assert found.energy.mae == pytest.approx(4.5)
    assert found.force.rmse == pytest.approx(np.sqrt(18 * 4.0 / (23 * 3)))
    assert found.by_element["C"].rmse == 0.0
    assert found.by_element["H"].mae == pytest.approx(2.0 / 3.0)
    assert found.force_cosine == pytest.approx(np.sqrt(0.5))  # 45 degrees; carbon has no force
    hot, cold = found.by_config_type["hot"], found.by_config_type["cold"]
    assert hot[0].n == 1 and hot[0].mae == pytest.approx(2.0)
    assert cold[0].mae == pytest.approx((1.0 + 6.0 + 9.0) / 3) and cold[1].n == 3 * (5 + 5 + 8)


def test_frames_without_a_kind_or_forces_have_none() -> None:
    still = []
    for atoms in frames():
        still.append(labelled(atoms, label_of(atoms)[0], np.zeros((len(atoms), 3))))
        del still[-1].info["config_type"]
    found = assess(comparison().part([0, 1]), still[:2])
    assert found.by_config_type == {}
    assert found.force_cosine is None
    assert assess(comparison().part([0, 3]), [still[0], still[3]]).relative_energy is None


def test_frames_of_no_kind_beside_others_are_named_so() -> None:
    mixed = frames()
    del mixed[2].info["config_type"]
    lines = accuracy_table(comparison().errors(), assess(comparison(), mixed))
    assert "1 frame without config_type" in lines and "1 frame of config_type hot" in lines


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    plot_assessment(tmp_path / "errors.png", comparison(), frames())
    with Image.open(tmp_path / "errors.png") as image:
        assert image.size[0] > 1000
