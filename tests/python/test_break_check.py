"""The guard before a stop: frames of the model's own path around the break."""

from pathlib import Path

import numpy as np
import pytest
from alrare.break_check import PathErrors, path_errors, path_frames
from alrare.ensemble import load_ensemble, random_ensemble
from alrare.frames import labelled
from ase import Atoms
from ase.build import molecule


def _pull(n: int, stretch: float) -> list[Atoms]:
    """Ethane stretched by so much on each side in all, ten steps a frame."""
    frames = []
    for number, up in enumerate(np.linspace(0.0, stretch, n)):
        frame = molecule("C2H6")
        frame.positions[:, 2] += np.sign(frame.positions[:, 2]) * up
        frame.info["step"] = 10 * number
        frames.append(frame)
    return frames


def _steps(frames: list[Atoms], pull: int) -> list[int]:
    return [frame.info["step"] for frame in frames if frame.info["pull"] == pull]


def test_frames_are_taken_around_the_break_of_each_pull_and_from_its_start() -> None:
    broke, held = _pull(100, 0.53), _pull(100, 0.1)  # the first breaks at about step 640
    frames = path_frames([broke, held], [900, 500], n_frames=20, before=200, after=100)
    first, second = _steps(frames, 0), _steps(frames, 1)
    assert first[0] == second[0] == 0
    assert len(first) == len(second) == 10
    assert 400 < first[1] < 480 and 700 < first[-1] < 780
    assert second[1] == 300 and second[-1] == 600  # nothing broke: around the largest work
    assert first[1:] == sorted(set(first[1:]))


def test_a_pull_without_configurations_is_passed_over() -> None:
    assert path_frames([[], _pull(20, 0.1)], [0, 50], n_frames=8, before=50, after=50)
    assert path_frames([[]], [0], n_frames=8, before=50, after=50) == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,), best_member=1).save(path)
    return path


def test_errors_are_those_of_the_driver_relative_to_the_start_of_each_pull(model: Path) -> None:
    frames = path_frames([_pull(30, 0.5)] * 2, [0, 0], n_frames=10, before=300, after=300)
    said = load_ensemble(model).evaluate(frames)
    labels = []
    for row, frame in enumerate(frames):
        offset = 7.0 if frame.info["pull"] else -3.0  # common to a pull: moves nothing
        error = 0.0 if frame.info["step"] == 0 else 0.25
        label = said.energies[1, row] + offset - error
        labels.append(labelled(frame, label, said.forces[row][1] - 0.125))
    errors = path_errors(model, labels, driver="best")
    assert errors.n_frames == len(frames) == 10
    assert errors.energy_mae == pytest.approx(0.25)
    assert errors.force_mae == pytest.approx(0.125)


def test_a_small_energy_error_does_not_excuse_wrong_forces() -> None:
    false_stability = PathErrors(n_frames=48, energy_mae=0.03, force_mae=0.6)
    assert not false_stability.is_below(energy=0.0434, force=0.1)
    assert PathErrors(48, 0.03, 0.05).is_below(energy=0.0434, force=0.1)
    assert not PathErrors(48, float("nan"), 0.05).is_below(energy=0.0434, force=0.1)
