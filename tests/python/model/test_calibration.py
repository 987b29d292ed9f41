"""The calibration of a model: what it says, where it is kept, and what it leaves alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.errors import AlrareError
from alrare.files import file_hash
from alrare.frames import labelled
from alrare.model.accuracy import Comparison, frame_errors
from alrare.model.calculator import EnsembleCalculator
from alrare.model.calibration import calibrate, write_calibration
from alrare.model.ensemble import Ensemble, load_ensemble
from alrare.model.model_file import (
    SpreadFactors,
    model_hash,
    read_export_metadata,
    read_metadata,
    spread_factors,
)
from alrare.model.torchscript import export_torchscript
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three members in both files."""
    ensemble = random_ensemble(members=3, hidden={"H": (8,)}, hidden_default=(8,))
    ensemble.save(tmp_path / "ensemble.safetensors")
    export_torchscript(ensemble, tmp_path / "ensemble.pt")
    return tmp_path / "ensemble.safetensors"


def frames(model: Path, times: float, n: int = 12) -> list[Atoms]:
    """Ethanes whose labels differ from the mean by `times` the spread."""
    rng = np.random.default_rng(2)
    calculator = EnsembleCalculator(model)
    found = []
    for k in range(n):
        atoms = molecule("C2H6")
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        calculator.calculate(atoms)
        forces, members = calculator.results["forces"], calculator.results["member_forces"]
        error = times * calculator.results["energy_std"] * (-1) ** k
        label = calculator.results["energy"] - error
        found.append(labelled(atoms, label, forces + times * members.std(axis=0, ddof=1)))
    return found


def test_the_factors_are_errors_over_spreads_and_both_files_keep_them(model: Path) -> None:
    data = frames(model, 3.0)
    assert frame_errors(model, data).calibrated is None
    factors = calibrate(model, data)
    assert factors.n_frames == 12
    assert factors.energy == pytest.approx(3.0, rel=0.2)  # less the mean of the composition
    assert factors.force == pytest.approx(3.0, rel=1e-5)
    kept = load_ensemble(model).metadata.calibration
    assert kept is not None and (kept.energy, kept.force) == (factors.energy, factors.force)
    assert spread_factors(read_export_metadata(model.with_suffix(".pt"))) == kept
    errors = frame_errors(model, data, forces="mean")
    assert errors.calibration == pytest.approx(factors.energy)
    assert errors.calibrated == pytest.approx(1.0)


def test_the_calculator_gives_the_calibrated_spread_beside_the_raw_one(model: Path) -> None:
    atoms = molecule("C2H6")
    before = EnsembleCalculator(model)
    before.calculate(atoms)
    assert before.calibration is None and "calibrated_energy_std" not in before.results
    write_calibration(model, SpreadFactors(2.5, 1.5, 30))
    after = EnsembleCalculator(model)
    after.calculate(atoms)
    for name in ("energy", "energy_std", "force_std", "forces"):
        assert np.array_equal(after.results[name], before.results[name])
    assert after.results["calibrated_energy_std"] == 2.5 * before.results["energy_std"]
    assert after.results["calibrated_force_std"] == 1.5 * before.results["force_std"]


def test_a_calibrated_model_keeps_its_weights_and_the_name_of_what_it_made(model: Path) -> None:
    files = (model, model.with_suffix(".pt"))
    as_trained = [file_hash(path) for path in files]
    weights = load_ensemble(model).weights
    for factors in (SpreadFactors(2.5, 1.5, 30), SpreadFactors(4.0, 2.0, 50)):
        write_calibration(model, factors)
        assert all(file_hash(p) != before for p, before in zip(files, as_trained, strict=True))
        assert [model_hash(path) for path in files] == as_trained
        read_metadata(model)  # compares the checksum
        now = load_ensemble(model).weights
        assert all(torch.equal(now[name], weights[name]) for name in weights)


def test_a_calibration_that_is_there_is_not_written_again(model: Path) -> None:
    files = (model, model.with_suffix(".pt"))
    write_calibration(model, SpreadFactors(2.5, 1.5, 30))
    before = [path.stat().st_mtime_ns for path in files]
    write_calibration(model, SpreadFactors(2.5, 1.5, 30))
    assert [path.stat().st_mtime_ns for path in files] == before


def test_an_export_of_another_model_is_left_alone(model: Path) -> None:
    other = random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,))
    export = model.with_suffix(".pt")
    export_torchscript(other, export)
    before = file_hash(export)
    write_calibration(model, SpreadFactors(2.5, 1.5, 30))
    assert file_hash(export) == before == model_hash(export)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_damaged_file_is_not_known_as_the_trained_one(model: Path, suffix: str) -> None:
    path = model.with_suffix(suffix)
    as_trained = model_hash(path)
    write_calibration(model, SpreadFactors(2.5, 1.5, 30))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if suffix == ".pt" else -5] ^= 1
    path.write_bytes(content)
    assert model_hash(path) == file_hash(path) != as_trained


def test_what_cannot_be_calibrated_is_told_why(model: Path) -> None:
    with pytest.raises(AlrareError, match=r"at least 10 frames .* got 9 such frames"):
        calibrate(model, frames(model, 2.0, n=9))
    ensemble = load_ensemble(model)
    own = replace(ensemble.metadata, method="a" * 64)
    Ensemble(own, ensemble.weights).save(model)
    data = frames(model, 2.0)
    for frame in data:
        frame.info["method"] = "b" * 64
    with pytest.raises(AlrareError, match="labels of another method"):
        calibrate(model, data)
    one = random_ensemble(members=1, hidden={"H": (8,)}, hidden_default=(8,))
    data = frames(model, 2.0)
    one.save(model)
    with pytest.raises(AlrareError, match=r"members that differ on them; .* energy_std 0\.0 eV"):
        calibrate(model, data)


def test_one_half_of_the_labels_checks_the_other() -> None:
    spread = np.full(40, 0.01)
    signs = np.tile([1.0, -1.0], 20)
    alike, unlike = np.full(40, 2.0), np.repeat([2.0, 6.0], 20)
    for factor, expected in ((alike, 1.0), (unlike, 3.0)):
        found = _comparison(factor * spread * signs, spread).calibration(range(20))
        assert found.energy_check == pytest.approx(expected)
        assert found.force_check == pytest.approx(expected)
    assert _comparison(alike * spread * signs, spread).calibration().energy_check is None


def _comparison(error: np.ndarray, spread: np.ndarray) -> Comparison:
    forces = [np.full((2, 3), value) for value in error]
    stds = [np.full((2, 3), value) for value in spread]
    return Comparison(
        error, forces, error, forces, spread, stds, len(error) * ("CH4",), len(error) * (None,)
    )
