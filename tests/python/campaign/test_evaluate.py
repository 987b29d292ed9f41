"""How an ensemble is judged: test pulls and the activation energy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.campaign.evaluate import Evaluation, evaluate
from alrare.errors import AlrareError
from alrare.exploration.event import Event, find_event
from alrare.exploration.observables import Observables
from alrare.frames import label_of, labelled
from alrare.model.accuracy import frame_errors
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import load_ensemble
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import molecule


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
    """Label frames with what the best member says, minus a shift; forces are off by 0.5 eV/Å."""
    calculator = EnsembleCalculator(model)
    labels = []
    for frame, off in zip(frames, shift, strict=True):
        calculator.calculate(frame)
        said = calculator.results
        energy, forces = said["member_energies"][1] - off, said["member_forces"][1] + 0.5
        labels.append(labelled(frame, energy, forces))
    return labels


def _observed(activation_energy: float, bond: tuple[int, int] | None = (1, 2)) -> Observables:
    return Observables(
        activation_energy=None if bond is None else activation_energy,
        peak_step=9,
        work_at_event=6.0,
        event_step=10,
        event=None if bond is None else Event(1, "broken", bond, bond),
        peak_force=4.0,
        peak_energy=5.0,
    )


def _evaluate(model: Path, **given: Any) -> Evaluation:
    nothing: dict[str, Any] = {"test_pulls": [], "new": [], "runs": {}, "reference": {}}
    return evaluate(model=model, forces="best", key="activation_energy", **(nothing | given))


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
    best = frame_errors(model, frames, forces="best").energy_mae
    mean = frame_errors(model, frames, forces="mean").energy_mae
    assert best is not None and mean is not None and mean > best + 1e-6


def test_frames_without_a_label_are_refused(model: Path) -> None:
    with pytest.raises(AlrareError, match="expected an energy and forces, got none"):
        frame_errors(model, _pull())


def test_offsets_are_taken_by_composition_and_told(model: Path) -> None:
    frames = _with_labels(model, _pull(), np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]))
    methane = [molecule("CH4"), molecule("CH4")]
    methane[1].rattle(0.01)
    frames += _with_labels(model, methane, np.array([5.0, 7.0]))
    frames.append(labelled(Atoms("H", cell=[20, 20, 20], pbc=True), -13.0, np.zeros((1, 3))))
    errors = frame_errors(model, frames)
    assert errors.n_frames == 8  # the isolated atom is none
    assert errors.energy_mae == pytest.approx(1.0, abs=1e-5)
    assert errors.offsets["CH4"] == pytest.approx(6.0, abs=1e-5) and len(errors.offsets) == 2


def test_a_composition_that_occurs_once_has_an_offset_and_no_error(model: Path) -> None:
    (frame, *_) = _with_labels(model, _pull(), np.zeros(6))
    errors = frame_errors(model, [frame])
    assert errors.energy_mae is None and len(errors.offsets) == 1


def test_labels_of_another_method_than_the_models_are_told(model: Path, tmp_path: Path) -> None:
    frames = _with_labels(model, _pull(), np.zeros(6))
    assert frame_errors(model, frames).same_method is None
    for frame in frames:
        frame.info["method"] = "a" * 64
    ensemble = load_ensemble(model)
    for method, same in (("a" * 64, True), ("b" * 64, False)):
        of_method = replace(ensemble, metadata=replace(ensemble.metadata, method=method))
        of_method.save(tmp_path / "ensemble.safetensors")
        assert frame_errors(tmp_path / "ensemble.safetensors", frames).same_method is same
    frames[1].info["method"] = "b" * 64
    with pytest.raises(AlrareError, match="expected labels of one method, got 2"):
        frame_errors(model, frames)


def test_a_charge_that_the_model_was_not_trained_on_is_refused(model: Path, tmp_path: Path) -> None:
    frames = _with_labels(model, _pull(), np.zeros(6))
    ensemble = load_ensemble(model)
    of_ions = replace(ensemble, metadata=replace(ensemble.metadata, training={"charges": [1]}))
    of_ions.save(tmp_path / "ions.safetensors")
    with pytest.raises(AlrareError, match=r"frame 1 .*: charge \+0, but the model was trained on"):
        frame_errors(tmp_path / "ions.safetensors", frames)
    for frame in frames:
        frame.info["charge"] = 1
    assert frame_errors(tmp_path / "ions.safetensors", frames).n_frames == 6


def test_frames_before_and_after_the_break_are_told_apart(model: Path) -> None:
    pull = _pull(50)
    first = find_event(pull)
    assert first is not None
    shift = np.where(np.arange(50) < first.index, 0.0, np.arange(50) % 2)
    labels = _with_labels(model, pull, shift)
    result = _evaluate(model, test_pulls=[labels, labels])
    assert result.test_intact.n_frames == 2 * first.index
    assert result.test_intact.energy_mae == pytest.approx(0.0, abs=1e-9)
    assert result.test_broken.energy_mae == pytest.approx(0.5, abs=0.05)
    assert result.value is None and result.error is None and result.n_runs == 0


def test_the_barrier_error_is_that_of_the_highest_frame_against_the_first(model: Path) -> None:
    pull = _pull()
    labels = _with_labels(model, pull, np.zeros(6))
    energies = np.array([label_of(frame)[0] for frame in labels])
    lift = np.array([0.0, 0.0, 0.0, 9.0, 0.0, 0.0])  # the label's peak, the model has none
    lifted = [
        labelled(frame, energy + up, label_of(frame)[1])
        for frame, energy, up in zip(labels, energies, lift, strict=True)
    ]
    assert _evaluate(model, test_pulls=[lifted]).barrier_error == pytest.approx(9.0, abs=1e-6)
    assert _evaluate(model, test_pulls=[labels]).barrier_error == pytest.approx(0.0, abs=1e-6)
    assert _evaluate(model, test_pulls=[]).barrier_error is None


def test_the_error_pairs_pulls_of_the_same_seed(model: Path) -> None:
    result = _evaluate(
        model,
        runs={1: _observed(6.4), 2: _observed(6.8), 3: _observed(7.2)},
        reference={1: _observed(6.3), 2: _observed(6.5), 9: _observed(99.0)},
    )
    assert result.value == pytest.approx(6.8)
    assert result.value_sem == pytest.approx(0.4 / np.sqrt(3))
    assert result.error == pytest.approx(0.2)
    assert result.error_sem == pytest.approx(0.1)
    of_labeller = [pull.reference and pull.reference["activation_energy"] for pull in result.runs]
    assert of_labeller == [6.3, 6.5, None]


def test_pulls_in_which_no_bond_broke_give_no_activation_energy(model: Path) -> None:
    result = _evaluate(
        model,
        runs={1: _observed(6.4), 2: _observed(9.0, None), 3: _observed(7.2)},
        reference={1: _observed(6.3), 2: _observed(6.5), 3: _observed(9.0, None)},
    )
    assert result.value == pytest.approx(6.8) and result.n_runs == 3
    assert result.error == pytest.approx(0.1) and result.error_sem is None
    assert [pull.seed for pull in result.runs] == [1, 2, 3]


@pytest.mark.slow
def test_an_evaluation_is_plain_json(model: Path) -> None:
    frames = _with_labels(model, _pull(), np.zeros(6))
    result = _evaluate(
        model, test_pulls=[frames], new=(frames[:2], frames[2:]), runs={1: _observed(6.4)}
    )
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["energy_mae_test"] == content["test"]["energy_mae"]
    assert content["activation_energy_sem"] is None
    assert content["calibration"]["n_frames"] == 6
    (pull,) = content["runs"]
    assert pull["seed"] == 1 and pull["reference"] is None
    assert pull["model"]["activation_energy"] == 6.4 and pull["model"]["event"]["atoms"] == [1, 2]
