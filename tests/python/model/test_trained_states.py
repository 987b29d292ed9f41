"""Charge and multiplicity of a model's labels: other ones are refused, never ignored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alrare.config import Pull
from alrare.errors import ModelError
from alrare.exploration.smd import pull_with_model
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import Ensemble
from alrare.model.trained_states import check_state, check_stated, states_of
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule


def _stating(formula: str, **info: Any) -> Atoms:
    return Atoms(formula, info=info)


IONS = {"states": states_of([_stating("NH4", charge=1), _stating("OH3", charge=1), Atoms("H2O")])}
TRIPLET = {"states": states_of([_stating("O2", multiplicity=3)])}


def test_the_states_of_the_labels_are_recorded_by_composition() -> None:
    assert IONS["states"] == [
        {"charge": 0, "multiplicity": 1, "formulas": ["H2O"]},
        {"charge": 1, "multiplicity": 1, "formulas": ["H3O", "H4N"]},
    ]


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("H2O"),
        _stating("NH4", charge=1),
        _stating("NH4", total_charge=1, spin_multiplicity=1),
        _stating("CH5", charge=1),  # a composition without labels, with the charge of others
        Atoms("CH3"),  # its lowest multiplicity is 2
    ],
)
def test_states_of_the_labels_are_accepted(atoms: Atoms) -> None:
    check_state(atoms, IONS, "x.xyz")


@pytest.mark.parametrize(
    ("atoms", "training", "message"),
    [
        (Atoms("NH4"), IONS, r"charge \+0, .* trained on charge \+1, multiplicity 1, and"),
        (_stating("OH2", charge=1), IONS, r"charge \+1, multiplicity 2, .* charge \+0, mult"),
        (_stating("OH", charge=-1), IONS, r"charge -1, .* charge \+0, .* or charge \+1"),
        (_stating("OH2", multiplicity=3), IONS, "multiplicity 3, but"),
        (_stating("CH2", multiplicity=3), IONS, "multiplicity 3, but"),
        (Atoms("O2"), TRIPLET, r"multiplicity 1, but .* multiplicity 3"),
    ],
)
def test_other_states_are_refused(atoms: Atoms, training: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=f"x.xyz: .*{message}"):
        check_state(atoms, training, "x.xyz")


def test_only_what_atoms_state_is_compared_where_they_may_state_nothing() -> None:
    check_stated(Atoms("NH4"), IONS)
    with pytest.raises(ModelError, match=r"H4N: charge \+0"):
        check_stated(_stating("NH4", charge=0), IONS)


def test_a_model_that_records_no_states_says_that_it_ignores_them() -> None:
    check_state(Atoms("NH4"), {}, "x.xyz")
    with pytest.warns(UserWarning, match="x.xyz: charge \\+1, .* gives the same energy for all"):
        check_state(_stating("NH4", charge=1), {}, "x.xyz")


@pytest.fixture
def neutral(tmp_path: Path) -> Path:
    plain = random_ensemble(hidden_default=(8,))
    training = {"states": states_of([molecule("CH4"), molecule("C2H6")])}
    path = tmp_path / "ensemble.safetensors"
    Ensemble(replace(plain.metadata, training=training), plain.weights).save(path)
    return path


def test_the_calculator_refuses_a_charge_that_the_model_does_not_know(neutral: Path) -> None:
    atoms = molecule("CH4")
    atoms.calc = EnsembleCalculator(neutral)
    atoms.get_potential_energy()
    for key, value in (("charge", 1), ("spin_multiplicity", 3)):
        atoms.info = {key: value}
        atoms.rattle(0.01)
        with pytest.raises(ModelError, match="but the model was trained on"):
            atoms.get_potential_energy()


def test_a_pull_refuses_a_charge_that_the_model_does_not_know(
    neutral: Path, tmp_path: Path
) -> None:
    atoms = molecule("C2H6")
    atoms.info["charge"] = 1
    with pytest.raises(ModelError, match=r"C2H6: charge \+1, .* trained on charge \+0"):
        pull_with_model(
            model=neutral, structure=atoms, pull=Pull(atoms=(1, 2)), folder=tmp_path / "pulls"
        )
    assert not (tmp_path / "pulls").exists()


def test_the_calculator_notices_a_charge_that_is_stated_later(tmp_path: Path) -> None:
    ensemble = random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,))
    metadata = replace(ensemble.metadata, training={"states": states_of([molecule("CH4")])})
    Ensemble(metadata, ensemble.weights).save(tmp_path / "ensemble.safetensors")
    atoms = molecule("CH4")
    atoms.calc = EnsembleCalculator(tmp_path / "ensemble.safetensors")
    atoms.get_potential_energy()
    atoms.info["charge"] = 1
    with pytest.raises(ModelError, match=r"charge \+1, .* trained on charge \+0"):
        atoms.get_potential_energy()
