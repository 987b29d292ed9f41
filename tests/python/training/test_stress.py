"""The stress of cells in training: it is learned, it is checked, and without it nothing changes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import config
from alrare.errors import AlrareError
from alrare.frames import label_of, labelled, stress_of
from alrare.labelling.store import LabelStore
from alrare.model.accuracy import compare
from alrare.training.ani_trainer import AniTrainer
from alrare.training.dataset import Split, dataset_hash, make_dataset
from alrare.training.descriptor_cache import DescriptorCache
from alrare.training.ensemble import train
from alrare.training.gradients import Labels, Strain, open_gradient_engine
from alrare.training.stress import check_stress, stress_work
from alrare.training.whitening import identity
from alrare.units import GPA
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from small_training import FAST, data, metadata, run, splits

Change = Callable[[np.ndarray], np.ndarray | None]


def strained(n: int, *, strain: float = 0.06, seed: int = 0) -> list[Atoms]:
    """Strained cells of copper with small displacements, by a toy potential."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        change = rng.uniform(-strain, strain, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (change + change.T)), scale_atoms=True)
        atoms.rattle(0.03, rng=rng)
        atoms.calc = EMT()
        label = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        frames.append(labelled(atoms, *label))
    return frames


@pytest.fixture(scope="module")
def cells() -> list[Atoms]:
    return strained(30)


def relabelled(frames: list[Atoms], change: Change) -> list[Atoms]:
    made = []
    for frame in frames:
        stress = stress_of(frame)
        assert stress is not None
        made.append(labelled(frame, *label_of(frame), change(stress)))
    return made


def test_right_stresses_do_the_work_that_the_energies_differ_by(cells: list[Atoms]) -> None:
    ratio = stress_work(cells)
    assert ratio is not None and 0.8 < ratio < 1.2
    check_stress(cells)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda stress: -stress, "a pressure or a virial over the volume, of the opposite sign"),
        (lambda stress: stress / GPA, "may be in GPa or kbar"),
        (lambda stress: stress * 0.0, "all stresses are zero"),
    ],
    ids=["the opposite sign", "GPa", "zero"],
)
def test_stresses_of_another_sign_or_unit_are_refused(
    cells: list[Atoms], change: Change, cause: str, tmp_path: Path
) -> None:
    wrong = relabelled(cells, change)
    with pytest.raises(AlrareError, match=cause):
        check_stress(wrong)
    with pytest.raises(AlrareError, match="--stress-weight 0"):
        train(wrong, folder=tmp_path, settings=FAST)


def test_cells_that_say_too_little_are_not_judged(cells: list[Atoms]) -> None:
    for frames in (cells[:10], strained(30, strain=0.0), data(24)):
        assert stress_work(frames) is None
        check_stress(frames)


@pytest.mark.slow
def test_the_stress_is_learned_and_its_error_is_told(tmp_path: Path, cells: list[Atoms]) -> None:
    settings = FAST.model_copy(update={"epochs": 30})
    both = [*cells, *(labelled(a, *label_of(a)) for a in strained(10, seed=1))]
    errors = {}
    for weight in (0.0, 10.0):
        folder = tmp_path / str(weight)
        path, progress = run(
            folder,
            frames=both,
            splits=splits(40),
            settings=settings.model_copy(update={"stress_weight": weight}),
            workers=1,
        )
        found = compare(path, cells, forces="mean").stress
        errors[weight] = np.abs(np.array(found)).mean()
        (member, _) = json.loads((folder / "training.json").read_text())["members"]
        assert ("stress_mae" in member["all"]) == (weight > 0.0)
        said = [text for text in progress.messages if "stress" in text]
        if weight:
            assert "stress of 30 of 40 configurations, rms" in said[0]
            assert "stress: MAE" in said[1] and "Warning" not in said[1]
            single = compare(path, cells, forces="best").stress
            best = json.loads((folder / "training.json").read_text())["best_member"]
            metrics = json.loads((folder / "training.json").read_text())["members"][best]
            mae = np.abs(np.array(single)).mean()
            assert metrics["all"]["stress_mae"] == pytest.approx(mae, rel=1e-3)
        else:
            assert not said
    assert errors[10.0] < 0.5 * errors[0.0]


@pytest.mark.slow
def test_stresses_of_the_wrong_sign_get_a_warning_before_and_a_large_error_one_after_training(
    tmp_path: Path, cells: list[Atoms]
) -> None:
    wrong = relabelled(cells, lambda stress: -stress)
    settings = FAST.model_copy(update={"epochs": 1, "stress_weight": 0.1})
    _, progress = run(tmp_path, frames=wrong, splits=splits(30), settings=settings, workers=1)
    _, before, after = [text for text in progress.messages if "stress" in text]
    assert before.startswith("Warning: 30 cells") and "of the opposite sign" in before
    assert "Warning: the error is above half of the labels' stress" in after


def test_the_validation_loss_is_the_loss_with_the_stress(
    tmp_path: Path, cells: list[Atoms]
) -> None:
    frames = [*cells[:6], *(labelled(a, *label_of(a)) for a in cells[6:8])]
    dataset, where = make_dataset(frames), (4, 5, 6)
    cache = DescriptorCache(
        tmp_path, constants=metadata(frames).aev, elements=metadata(frames).elements
    )
    cache.add(frames)
    keys = cache.keys(frames)
    settings = FAST.model_copy(update={"stress_weight": 2.0})
    split = Split((0, 1, 2, 3, 7), where)
    trainer = AniTrainer(cache, keys, dataset, split, metadata(frames), settings, seed=1)
    weights = trainer.exported()
    layers = [(weights[f"Cu.{k}.weight"], weights[f"Cu.{k}.bias"]) for k in range(3)]
    batch = cache.batch([keys[row] for row in where])
    strain = np.array([dataset.strain_derivatives[row] for row in (4, 5)])
    labels = Labels(
        torch.from_numpy(dataset.energies[list(where)]).float(),
        torch.from_numpy(np.concatenate([dataset.forces[row] for row in where])).float(),
        torch.full((3,), 4.0),
        Strain(torch.tensor([0, 1]), torch.from_numpy(strain).float()),
    )
    raw = [identity(layers[0][0].shape[1])]
    loss, _ = open_gradient_engine().loss_gradient(batch, [layers], raw, labels, 1.0, 2.0)
    assert trainer.validate().loss == pytest.approx(loss, rel=1e-4)


def test_the_hash_of_data_holds_the_stress_only_where_it_is_used(cells: list[Atoms]) -> None:
    with_stress = make_dataset(cells)
    bare = make_dataset([labelled(frame, *label_of(frame)) for frame in cells])
    keys = [str(row) for row in range(len(cells))]
    assert dataset_hash(keys, with_stress.without_stress()) == dataset_hash(keys, bare)
    assert dataset_hash(keys, with_stress) != dataset_hash(keys, bare)
    assert with_stress.has_stress and not bare.has_stress


@pytest.mark.slow
def test_without_stress_the_weight_of_the_stress_trains_nothing_again(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 2})
    run(tmp_path, settings=settings.model_copy(update={"stress_weight": 0.0}), workers=1)
    _, progress = run(
        tmp_path, settings=settings.model_copy(update={"stress_weight": 5.0}), workers=1
    )
    assert progress.stages == []
    assert not [text for text in progress.messages if "stress" in text and "replaced" not in text]


@pytest.mark.slow
def test_a_frame_that_is_no_cell_contributes_no_stress_and_is_said(
    tmp_path: Path, cells: list[Atoms]
) -> None:
    sheet = cells[0].copy()
    sheet.pbc = (True, True, False)
    sheet = labelled(sheet, *label_of(cells[0]), stress_of(cells[0]))
    virial = labelled(cells[1], *label_of(cells[1]))
    virial.info["virial"] = np.eye(3)
    frames = [sheet, virial, *cells[2:5]]
    assert [s is not None for s in make_dataset(frames).strain_derivatives] == [0, 0, 1, 1, 1]
    settings = config.Train(recipe="fast", epochs=1, min_steps=0, batch_size=8)
    _, progress = run(tmp_path, frames=frames, splits=splits(5), settings=settings, workers=1)
    text = "\n".join(progress.messages)
    assert "the stress of 1 configurations is not used: they are not periodic in three" in text
    assert "1 cells have 'virial' and no stress: it is not used; to use it, give stress = -" in text


def test_labels_of_a_store_bring_their_stress_to_training(
    tmp_path: Path, cells: list[Atoms]
) -> None:
    frame = cells[0]
    energy, forces = label_of(frame)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        store.put_ok("key", frame, energy=energy, forces=forces, stress=stress_of(frame))
        frames = store.frames(["key"])
    strain = make_dataset([*frames, *cells[1:3]]).strain_derivatives[0]
    assert strain is not None
    expected = frame.get_volume() * frame.get_stress(voigt=False)
    assert np.allclose(strain, expected, rtol=1e-12)
