"""An ensemble beside labels: calibration of its spread."""

from pathlib import Path

import numpy as np
import pytest
from alrare.frames import labelled
from alrare.model.accuracy import Comparison, Forces, compare
from alrare.model.assessment import assess
from alrare.model.calculator import EnsembleCalculator
from ani_reference import random_ensemble
from ase.build import molecule


def _comparison(error: np.ndarray, spread: np.ndarray) -> Comparison:
    forces = [np.full((2, 3), value) for value in error]
    stds = [np.full((2, 3), value) for value in spread]
    return Comparison(
        error, forces, error, forces, spread, stds, len(error) * ("CH4",), len(error) * (None,)
    )


def test_a_spread_half_as_large_as_the_error_has_a_ratio_of_two() -> None:
    spread = np.array([0.1, 0.2, 0.3, 0.4])
    found = _comparison(2.0 * spread * np.array([1, -1, -1, 1]), spread).calibration()
    assert found.n_frames == 4
    assert found.energy_ratio == pytest.approx(2.0)
    assert found.force_ratio == pytest.approx(2.0)
    assert found.energy_correlation == pytest.approx(1.0)
    assert found.energy_std == pytest.approx(np.sqrt(np.mean(spread**2)))


def test_a_spread_that_says_nothing_has_no_correlation_with_the_error() -> None:
    found = _comparison(np.array([1.0, 2.0, 3.0]), np.full(3, 0.1)).calibration()
    assert found.energy_correlation is None and found.energy_ratio is not None
    assert _comparison(np.zeros(0), np.zeros(0)).calibration().n_frames == 0


def test_a_single_member_has_errors_and_no_spread(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=1, hidden={"H": (8,)}, hidden_default=(8,)).save(path)
    label = labelled(molecule("C2H6"), 0.0, np.zeros((8, 3)))
    found = compare(path, [label, label], forces="mean")
    assert (found.energy_std == 0.0).all() and (found.force_std[0] == 0.0).all()
    assert found.errors().force_mae > 0.0 and found.errors().calibration is None


def test_the_calibration_is_that_of_the_mean_and_the_errors_those_of_the_driver(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=3, hidden={"H": (8,)}, hidden_default=(8,), best_member=2).save(path)
    frame = molecule("C2H6")
    calculator = EnsembleCalculator(path)
    calculator.calculate(frame)
    energies = calculator.results["member_energies"]
    forces = calculator.results["member_forces"]
    label = labelled(frame, energies[2], forces[2])
    best, mean = (compare(path, [label], forces=driver) for driver in ("best", "mean"))
    assert best.energy[0] == pytest.approx(0.0, abs=1e-9)
    assert np.abs(best.forces[0]).max() == pytest.approx(0.0, abs=1e-9)
    assert mean.energy[0] == pytest.approx(energies.mean() - energies[2])
    assert best.energy_of_mean[0] == pytest.approx(mean.energy[0])
    assert best.force_std[0] == pytest.approx(forces.std(axis=0, ddof=1))


@pytest.mark.parametrize("forces", ["mean", "best"])
def test_the_error_of_the_stress_is_that_of_the_driver_where_a_cell_has_one(
    forces: Forces, tmp_path: Path
) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=3, hidden={"H": (8,)}, hidden_default=(8,), best_member=2).save(path)
    cell = molecule("C2H6")
    cell.set_cell([5.5, 5.2, 5.9])
    cell.pbc = True
    cell.calc = EnsembleCalculator(path, forces=forces)
    label = labelled(cell, cell.get_potential_energy(), cell.get_forces(), cell.get_stress() + 0.25)
    other = labelled(molecule("C2H6"), 0.0, np.zeros((8, 3)))
    found = compare(path, [label, other], forces=forces)
    assert np.allclose(found.stress[0], -0.25, atol=1e-9) and found.stress[1] is None
    assert found.part([1, 0]).stress[0] is None
    detail = assess(found, [label, other]).stress
    assert detail is not None and (detail.n, detail.mae) == (9, pytest.approx(0.25))
