"""The guard before a stop: frames of the model's own trajectory around the event."""

from pathlib import Path

import numpy as np
import pytest
from alrare.campaign.around_event import EventErrors, errors_around_event, frames_around_event
from alrare.frames import labelled
from alrare.model.ensemble import load_ensemble
from ani_reference import evaluate, random_ensemble
from ase import Atoms
from ase.build import molecule

WINDOW = (300, 300)


def _pull(n: int, stretch: float) -> list[Atoms]:
    """Ethane stretched by so much on each side in all, ten steps a frame."""
    frames = []
    for number, up in enumerate(np.linspace(0.0, stretch, n)):
        frame = molecule("C2H6")
        frame.positions[:, 2] += np.sign(frame.positions[:, 2]) * up
        frame.info["step"] = 10 * number
        frames.append(frame)
    return frames


def _steps(frames: list[Atoms]) -> list[int]:
    return [frame.info["step"] for frame in frames]


def test_frames_are_taken_around_the_event_of_each_pull() -> None:
    broke, held = _pull(100, 0.53), _pull(100, 0.1)
    frames = frames_around_event(
        [broke, held], [640, 500], [640, 590], n_frames=21, window=(200, 100)
    )
    first, second = _steps(frames[:10]), _steps(frames[10:])
    assert 430 < first[0] < 480 and 700 < first[-1] < 750
    assert 300 <= second[0] < 330 and 570 < second[-1] <= 600
    assert first == sorted(set(first)) and second == sorted(set(second)) and len(second) == 11


@pytest.mark.parametrize("n_pulls", [1, 3, 16, 60])
def test_many_pulls_cover_the_window_together(n_pulls: int) -> None:
    pulls = [_pull(100, 0.1)] * n_pulls
    steps = sorted(
        _steps(
            frames_around_event(
                pulls, [500] * n_pulls, [0] * n_pulls, n_frames=48, window=(480, 479)
            )
        )
    )
    assert len(steps) == 48
    assert steps[0] < 60 and steps[-1] > 920
    assert max(np.diff(steps)) <= 50  # even: 960 steps by 48


def test_a_pull_without_configurations_is_passed_over() -> None:
    frames = frames_around_event(
        [[], _pull(20, 0.1)], [0, 100], [0, 100], n_frames=8, window=(50, 50)
    )
    assert len(frames) == 8
    assert frames_around_event([[]], [0], [0], n_frames=8, window=(50, 50)) == []


def test_half_the_frames_follow_the_step_that_decides_the_observable() -> None:
    pull = _pull(100, 0.53)
    steps = _steps(frames_around_event([pull], [300], [900], n_frames=20, window=(200, 100)))
    assert len(steps) == 20 and steps == sorted(steps)
    assert sum(step <= 400 for step in steps) == 10
    assert 100 < steps[0] < 130 and 860 < steps[-1] <= 900


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,), best_member=1).save(path)
    return path


def test_errors_are_those_of_the_driver_above_the_relaxed_structure(model: Path) -> None:
    start, frames = (
        _pull(2, 0.0)[0],
        frames_around_event([_pull(30, 0.5)], [150], [150], n_frames=10, window=WINDOW),
    )
    said = evaluate(load_ensemble(model), [start, *frames])
    labels = [
        labelled(frame, said.energies[1, row] + 7.0 - 0.25 * (row > 0), said.forces[row][1] - 0.125)
        for row, frame in enumerate([start, *frames])
    ]
    errors = errors_around_event(model, labels[0], labels[1:], forces="best")
    assert errors.n_frames == len(frames) == 10
    assert errors.energy_mae == pytest.approx(0.25)
    assert errors.force_mae == pytest.approx(0.125)


def test_a_small_energy_error_does_not_excuse_wrong_forces() -> None:
    false_stability = EventErrors(n_frames=48, energy_mae=0.03, force_mae=0.6)
    assert not false_stability.is_below(energy=0.0434, force=0.1)
    assert EventErrors(48, 0.03, 0.05).is_below(energy=0.0434, force=0.1)
    assert not EventErrors(48, float("nan"), 0.05).is_below(energy=0.0434, force=0.1)
