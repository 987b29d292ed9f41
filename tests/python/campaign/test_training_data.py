"""Which labels an iteration trains on: limits that come from the system and its labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.campaign.context import Campaign, System
from alrare.campaign.training_data import TrainingData, grown_data
from alrare.config import Pull, parse_config
from alrare.labelling.store import LabelStore
from alrare.progress import SilentProgress
from alrare.training.dataset import Split
from ase import Atoms

ATOM = Atoms("H", positions=[[0, 0, 0]])


@pytest.fixture
def grow(tmp_path: Path) -> Any:
    """Return a function that adds labels of given energies (eV) and forces (eV/Å)."""

    def grow(labels: dict[str, tuple[float, float]], reached: float, **select: Any) -> TrainingData:
        content = {"name": "x", "structure": "x.xyz", "pull": {"atoms": [1, 2]}, "select": select}
        config = parse_config(content, folder=tmp_path, source="al.toml")
        campaign = Campaign(
            config, tmp_path, (System("x", ATOM, Pull(atoms=(1, 2))),), SilentProgress()
        )
        old = {f"md{number}": (1.0, 4.0) for number in range(30)}
        with LabelStore(campaign.store_path) as store:
            for key, (energy, force) in {**old, **labels}.items():
                forces = np.array([[0.0, 0.0, force]])
                store.put_ok(key, ATOM, energy=energy - 100.0, forces=forces)
        split = Split(np.arange(25), np.arange(25, 30))
        data = TrainingData(tuple(old), (split,))
        return grown_data(campaign, data, {"x": list(labels)}, 0, 1, {"x": -100.0}, {"x": reached})

    return grow


def test_labels_of_a_pull_that_blew_up_are_left_out(grow: Any) -> None:
    labels = {"good": (6.0, 5.0), "hot": (29.0, 5.0), "near": (6.0, 17.0)}
    data = grow(labels, reached=6.5)
    assert data.keys[30:] == ("good",) and data.left_out == 2


def test_the_limit_of_the_energy_follows_what_the_pulls_reach(grow: Any) -> None:
    labels = {"strained": (17.0, 5.0)}
    assert grow(labels, reached=6.0).left_out == 1
    assert grow(labels, reached=9.0).left_out == 0
    assert grow({"strong": (11.0, 5.0)}, reached=0.1).left_out == 0


def test_limits_can_be_set(grow: Any) -> None:
    labels = {"strained": (17.0, 5.0), "near": (6.0, 17.0)}
    assert grow(labels, reached=1.0, max_energy=20.0, max_force=20.0).left_out == 0
    assert grow(labels, reached=9.0, max_energy=5.0).left_out == 2
