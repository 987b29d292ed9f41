"""Thinning keeps what is independent, and everything when told to."""

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import labelled
from alrare.training.thin import statistical_inefficiency, thinned_rows
from ase import Atoms
from ase.build import molecule


def autoregressive(n: int, memory: float, width: int = 15) -> np.ndarray:
    rng = np.random.default_rng(1)
    values = np.zeros((n, width))
    for k in range(1, n):
        values[k] = memory * values[k - 1] + rng.normal(size=width)
    return values


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_the_inefficiency_of_a_known_process_is_found(memory: float) -> None:
    exact = (1 + memory) / (1 - memory)
    assert statistical_inefficiency(autoregressive(20000, memory)) == pytest.approx(exact, rel=0.1)


def test_a_constant_series_is_not_thinned() -> None:
    assert statistical_inefficiency(np.ones((50, 3))) == 1.0


def trajectory(memory: float, n: int = 2000) -> list[Atoms]:
    noise = autoregressive(n, memory).reshape(n, 5, 3)
    return [labelled(molecule("CH4"), 0.0, force) for force in noise]


@pytest.mark.slow
def test_correlated_frames_are_thinned_and_independent_ones_are_not() -> None:
    rows = thinned_rows(trajectory(0.9), rule="decorrelated")
    assert 1900 / 22 < len(rows) < 2000 / 5
    assert rows[0] == 0 and len(set(np.diff(rows))) == 1
    assert len(thinned_rows(trajectory(0.0), rule="decorrelated")) >= 1000


def test_every_step_counts_when_told_so() -> None:
    assert thinned_rows(trajectory(0.9, 40), rule="none") == list(range(40))
    assert thinned_rows(trajectory(0.9, 2), rule="decorrelated") == [0, 1]


def test_frames_of_two_molecules_are_no_trajectory() -> None:
    other = labelled(molecule("H2O"), 0.0, np.zeros((3, 3)))
    with pytest.raises(AlrareError, match="frames of one molecule"):
        thinned_rows([*trajectory(0.5, 5), other], rule="decorrelated")
