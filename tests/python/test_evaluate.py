"""How an ensemble is judged: unseen frames and the activation energy."""

import json
from pathlib import Path

import numpy as np
import pytest
from alrare.ensemble import random_ensemble
from alrare.errors import AlrareError
from alrare.evaluate import break_index, evaluate, frame_errors
from alrare.frames import labelled
from ase import Atoms
from ase.build import molecule

HEADER = (
    "# step distance/angstrom target/angstrom force/(eV/angstrom) work/eV potential_energy/eV"
    " temperature/K\n"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,), best_member=1).save(path)
    return path


def _pull(n: int = 6) -> list[Atoms]:
    """Ethane stretched along its C-C bond until it is 1.7 times as long."""
    start = molecule("C2H6")
    half = np.sign(start.positions[:, 2])
    frames = []
    for stretch in np.linspace(0.0, 0.53, n):
        frame = start.copy()
        frame.positions[:, 2] += half * stretch
        frames.append(frame)
    return frames


def _with_labels(model: Path, frames: list[Atoms], shift: np.ndarray) -> list[Atoms]:
    from alrare.ensemble import load_ensemble

    result = load_ensemble(model).evaluate(frames)
    return [
        labelled(frame, result.energies[1, k] - shift[k], result.forces[k][1] + 0.5)
        for k, frame in enumerate(frames)
    ]


def _curve(path: Path, work: list[float]) -> Path:
    rows = [f"{k} {6.5 + 0.1 * k} 6.5 0 {w} -10 10\n" for k, w in enumerate(work)]
    path.write_text(HEADER + "".join(rows))
    return path


def test_a_common_offset_is_no_error(model: Path) -> None:
    frames = _with_labels(model, _pull(), np.full(6, 123.4))
    errors = frame_errors(model, frames)
    assert errors.energy_mae == pytest.approx(0.0, abs=1e-9)
    assert errors.force_mae == pytest.approx(0.5, abs=1e-6)
    assert errors.n_frames == 6


def test_the_error_is_that_of_the_relative_energy(model: Path) -> None:
    shift = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.6])
    errors = frame_errors(model, _with_labels(model, _pull(), shift))
    assert errors.energy_mae == pytest.approx((5 * 0.1 + 0.5) / 6)


def test_the_mean_of_the_ensemble_is_judged_when_it_drives(model: Path) -> None:
    frames = _with_labels(model, _pull(), np.zeros(6))
    best = frame_errors(model, frames, driver="best").energy_mae
    mean = frame_errors(model, frames, driver="mean").energy_mae
    assert best is not None and mean is not None and mean > best + 1e-6


def test_frames_without_a_label_are_refused(model: Path) -> None:
    with pytest.raises(AlrareError, match="expected an energy and forces, got none"):
        frame_errors(model, _pull())


def test_the_break_is_where_a_bond_of_the_first_frame_is_too_long() -> None:
    frames = _pull(50)
    index = break_index(frames)
    length = [frame.get_distance(0, 1) / frames[0].get_distance(0, 1) for frame in frames]
    assert length[index - 1] < 1.45 < length[index]
    assert break_index(frames[:5]) == 5
    assert break_index([]) == 0


def test_frames_before_and_after_the_break_are_told_apart(model: Path) -> None:
    pull = _pull(50)
    end = break_index(pull)
    shift = np.where(np.arange(50) < end, 0.0, np.arange(50) % 2)
    labels = _with_labels(model, pull, shift)
    result = evaluate(model=model, driver="best", unseen=[labels, labels], curves={}, reference={})
    assert result.unseen_intact.n_frames == 2 * end
    assert result.unseen_intact.energy_mae == pytest.approx(0.0, abs=1e-9)
    assert result.unseen_broken.energy_mae == pytest.approx(0.5, abs=0.05)
    assert result.activation_energy is None and result.error is None and result.n_pulls == 0


def test_the_error_pairs_pulls_of_the_same_seed(model: Path, tmp_path: Path) -> None:
    reference = {
        1: _curve(tmp_path / "r1", [0.0, 6.3, 5.0]),
        2: _curve(tmp_path / "r2", [0.0, 6.5, 5.0]),
        9: _curve(tmp_path / "r9", [0.0, 99.0]),
    }
    curves = {
        1: _curve(tmp_path / "m1", [0.0, 6.4, 1.0]),
        2: _curve(tmp_path / "m2", [0.0, 6.8, 1.0]),
        3: _curve(tmp_path / "m3", [0.0, 7.2, 1.0]),
    }
    result = evaluate(model=model, driver="best", unseen=[], curves=curves, reference=reference)
    assert result.activation_energy == pytest.approx(6.8)
    assert result.activation_energy_sem == pytest.approx(0.4 / np.sqrt(3))
    assert result.error == pytest.approx(0.2)
    assert result.error_sem == pytest.approx(0.1)
    assert [pull.reference for pull in result.pulls] == [6.3, 6.5, None]


def test_an_evaluation_is_plain_json(model: Path, tmp_path: Path) -> None:
    frames = _with_labels(model, _pull(), np.zeros(6))
    curves = {1: _curve(tmp_path / "m1", [0.0, 6.4])}
    result = evaluate(model=model, driver="best", unseen=[frames], curves=curves, reference={})
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["energy_mae_unseen"] == content["unseen"]["energy_mae"]
    assert content["activation_energy_sem"] is None
    assert content["pulls"] == [{"seed": 1, "activation_energy": 6.4, "reference": None}]
