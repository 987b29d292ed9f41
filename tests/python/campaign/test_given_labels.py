"""First training data from labelled files and from a campaign with a cheaper labeller."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alrare.campaign.context import Campaign, System
from alrare.campaign.given_labels import given_labels
from alrare.config import Pull, parse_config
from alrare.errors import AlrareError, ConfigError, ModelError
from alrare.files import write_json
from alrare.frames import frame_key, labelled, write_frames
from alrare.labelling.store import LabelStore
from alrare.progress import SilentProgress
from ase import Atoms
from ase.build import molecule

METHANE = molecule("CH4")
LABELLER = {"program": "ase", "calculator": "ase.calculators.emt.EMT"}


def rattled(number: int) -> list[Atoms]:
    frames = []
    for seed in range(number):
        frame = METHANE.copy()
        frame.rattle(0.02, seed=seed)
        frames.append(labelled(frame, -24.0 - 0.1 * seed, np.zeros((5, 3))))
    return frames


def campaign(folder: Path, **initial: Any) -> Campaign:
    content = {
        "name": "x",
        "structure": "x.xyz",
        "pull": {"atoms": [1, 2]},
        "labeller": LABELLER,
        "initial": initial,
    }
    config = parse_config(content, folder=folder, source="al.toml")
    system = System("x", METHANE, Pull(atoms=(1, 2)))
    (folder / "run").mkdir(exist_ok=True)
    return Campaign(config, folder / "run", (system,), SilentProgress())


def stored(one: Campaign, keys: list[str]) -> list[Atoms]:
    with LabelStore(one.store_path) as store:
        return store.frames(keys)


def test_labels_of_a_file_join_the_first_data(tmp_path: Path) -> None:
    isolated = labelled(Atoms("H", positions=[[0, 0, 0]]), -13.0, np.zeros((1, 3)))
    write_frames(tmp_path / "mine.extxyz", [isolated, *rattled(3)])
    one = campaign(tmp_path, data=["mine.extxyz"], data_is_by_labeller=True)
    keys = given_labels(one)
    assert len(keys) == 3  # an isolated atom is no configuration of the system
    frames = stored(one, keys)
    assert [frame.get_potential_energy() for frame in frames] == pytest.approx(
        [-24.0, -24.1, -24.2]
    )
    assert keys == [frame_key(frame, one.method) for frame in frames]


def test_a_file_that_changes_later_changes_nothing(tmp_path: Path) -> None:
    write_frames(tmp_path / "mine.extxyz", rattled(3))
    one = campaign(tmp_path, data=["mine.extxyz"], data_is_by_labeller=True)
    keys = given_labels(one)
    write_frames(tmp_path / "mine.extxyz", rattled(9))
    assert given_labels(one) == keys


def test_a_file_must_say_its_method_or_be_vouched_for(tmp_path: Path) -> None:
    frames = rattled(2)
    write_frames(tmp_path / "mine.extxyz", frames)
    with pytest.raises(AlrareError, match=r"frame 1 .*does not say by which method"):
        given_labels(campaign(tmp_path, data=["mine.extxyz"]))
    one = campaign(tmp_path, data=["mine.extxyz"])
    for frame in frames:
        frame.info["method"] = one.method
    write_frames(tmp_path / "mine.extxyz", frames)
    assert len(given_labels(one)) == 2


def test_labels_of_another_method_are_refused_even_if_vouched_for(tmp_path: Path) -> None:
    frames = rattled(2)
    frames[1].info["method"] = "a" * 64
    write_frames(tmp_path / "mine.extxyz", frames)
    one = campaign(tmp_path, data=["mine.extxyz"], data_is_by_labeller=True)
    with pytest.raises(AlrareError, match=r"frame 2 .*another method \(aaaaaaaaaaaaaaaa\)"):
        given_labels(one)
    assert not (one.folder / "initial.json").exists()
    with LabelStore(one.store_path) as store:
        assert store.counts() == {}  # nothing of a refused file stays


def test_an_unknown_element_is_refused(tmp_path: Path) -> None:
    water = labelled(molecule("H2O"), -14.0, np.zeros((3, 3)))
    write_frames(tmp_path / "mine.extxyz", [water])
    with pytest.raises(ModelError, match="O"):
        given_labels(campaign(tmp_path, data=["mine.extxyz"], data_is_by_labeller=True))


def cheaper(folder: Path, frames: list[Atoms]) -> None:
    """Write what `relabel` reads of a campaign."""
    keys = [f"key{number}" for number in range(len(frames))]
    with LabelStore(folder / "labels" / "labels.sqlite") as store:
        for key, frame in zip(keys, frames, strict=True):
            store.put_ok(key, frame, energy=0.0, forces=np.zeros((len(frame), 3)))
    write_json(folder / "iter_000" / "dataset.json", {"keys": keys[:1]})
    write_json(folder / "iter_001" / "dataset.json", {"keys": keys})


def test_configurations_of_a_cheaper_campaign_are_labelled_anew(tmp_path: Path) -> None:
    frames = [frame.copy() for frame in rattled(6)]
    frames[4].positions[1] *= 1.2  # the most unlike
    cheaper(tmp_path / "gfn2", [*frames, molecule("H2O")])
    one = campaign(tmp_path, relabel="gfn2", relabel_count=3)
    keys = given_labels(one)
    assert len(keys) == 3
    taken = stored(one, keys)
    assert any(np.allclose(frame.positions, frames[4].positions) for frame in taken)
    assert all(frame.info["method"] == one.method for frame in taken)
    assert given_labels(one) == keys


def test_a_campaign_without_the_molecule_or_without_a_model_is_refused(tmp_path: Path) -> None:
    cheaper(tmp_path / "gfn2", [molecule("H2O")])
    with pytest.raises(AlrareError, match="gfn2: holds no configuration of CH4"):
        given_labels(campaign(tmp_path, relabel="gfn2"))
    with pytest.raises(ConfigError, match="expected the run folder of a campaign that has trained"):
        given_labels(campaign(tmp_path, relabel="nothing"))
