"""Training: it learns, repeats exactly, and goes on after a kill."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import config
from alrare.aev import AEVConstants
from alrare.dataset import Split, make_dataset, random_split
from alrare.descriptors import DescriptorCache
from alrare.ensemble import Ensemble, Metadata, load_ensemble, stack_members
from alrare.errors import AlrareError
from alrare.frames import label_of, labelled
from alrare.member import WHITENING_FLOOR, Fit, fit_member, whiten
from alrare.progress import SilentProgress, Stage
from alrare.torchscript import load_torchscript
from alrare.train import train_ensemble
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

SMALL = config.Model(members=2, hidden={}, hidden_default=(24, 16))
FAST = config.Train(recipe="fast", epochs=12, batch_size=8, learning_rate=1e-2, force_weight=1.0)


def data(n: int = 24) -> list[Atoms]:
    """Rattled methane and ethane, labelled by a toy potential."""
    frames = []
    for k in range(n):
        atoms = molecule("CH4" if k % 3 else "C2H6")
        atoms.rattle(0.06, seed=k)
        atoms.calc = EMT()
        frames.append(labelled(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    return frames


def splits(n: int = 24, members: int = 2) -> list[Split]:
    rng = np.random.default_rng(1)
    return [random_split(n, train_fraction=0.8, rng=rng) for _ in range(members)]


def fit(
    folder: Path, settings: config.Train, seed: int = 1, frames: list[Atoms] | None = None
) -> Fit:
    frames = frames or data()
    dataset = make_dataset(frames)
    cache = DescriptorCache(folder, constants=AEVConstants(), elements=dataset.elements)
    cache.add(frames)
    return fit_member(
        cache=cache,
        keys=cache.keys(frames),
        dataset=dataset,
        split=splits()[0],
        metadata=metadata(frames),
        settings=settings,
        seed=seed,
        report=lambda epoch, error: None,
    )


def metadata(frames: list[Atoms]) -> Metadata:
    dataset = make_dataset(frames)
    hidden = dict.fromkeys(dataset.elements, (24, 16))
    return Metadata(dataset.elements, hidden, tuple(dataset.self_energies), members=1)


@pytest.mark.parametrize("recipe", ["paper", "fast"])
def test_training_learns_and_the_export_predicts_what_was_reported(
    tmp_path: Path, recipe: str
) -> None:
    settings = FAST.model_copy(update={"recipe": recipe})
    result = fit(tmp_path, settings)
    assert result.curve[-1][0] < 0.5 * result.curve[0][0]
    errors = [error for _, error in result.curve]
    assert result.best_epoch == 1 + int(np.argmin(errors))
    frames = data()
    said = Ensemble(metadata(frames), stack_members([result.weights])).evaluate(frames)
    energy = [abs(e - label_of(a)[0]) for e, a in zip(said.energies[0], frames, strict=True)]
    force = [np.abs(f[0] - label_of(a)[1]) for f, a in zip(said.forces, frames, strict=True)]
    assert np.mean(energy) == pytest.approx(result.everything.energy, abs=1e-4)
    assert np.mean(np.concatenate(force)) == pytest.approx(result.everything.force, rel=1e-3)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, same, other = (fit(tmp_path, FAST, seed=seed) for seed in (1, 1, 2))
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, same.weights[name])
    assert not torch.equal(first.weights["C.0.weight"], other.weights["C.0.weight"])


def test_whitened_features_are_uncorrelated() -> None:
    torch.manual_seed(0)
    aev = torch.randn(500, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.3, 0], [0, 0.4, 1]]) + 5.0
    white = whiten(aev)
    x = (aev - white.center) @ white.transform
    covariance = x.T @ x / 500
    assert torch.allclose(covariance, torch.diag(covariance.diag()), atol=1e-3)
    variance = torch.linalg.eigvalsh(torch.cov(aev.T, correction=0))
    floor = WHITENING_FLOOR * variance.mean()
    assert torch.allclose(covariance.diag(), variance / (variance + floor), atol=1e-3)


def test_an_element_that_only_validates_does_not_break_training(tmp_path: Path) -> None:
    frames = data()
    water = molecule("H2O")
    alone = labelled(water, -14.0, np.zeros((3, 3)))
    result = fit(tmp_path, FAST, frames=[*frames[:-1], alone])
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.weights.values())


class _Recorder(SilentProgress):
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        self.stages.append((name, total))
        with super().stage(name, total) as stage:
            yield stage


def run(folder: Path, **changes: object) -> tuple[Path, _Recorder]:
    progress = _Recorder()
    arguments: dict[str, object] = {
        "model": SMALL,
        "settings": FAST,
        "splits": splits(),
        "seed": 3,
        "folder": folder,
        "method": "method-hash",
        "workers": 2,
        "progress": progress,
    }
    frames = changes.pop("frames", data())
    return train_ensemble(frames, **{**arguments, **changes}), progress  # type: ignore[arg-type]


def test_members_are_trained_in_parallel_and_finished_ones_are_kept(tmp_path: Path) -> None:
    path, progress = run(tmp_path)
    assert progress.stages == [("descriptors", 24), ("training", 24)]
    ensemble = load_ensemble(path)
    assert ensemble.metadata.elements == ("H", "C")
    assert ensemble.metadata.method == "method-hash"
    assert ensemble.metadata.seeds == (3000, 3001)
    assert load_torchscript(tmp_path / "ensemble.pt")[1]["dataset"] == ensemble.metadata.dataset
    metrics = json.loads((tmp_path / "training.json").read_text())
    forces = [member["all"]["force_mae"] for member in metrics["members"]]
    assert ensemble.metadata.best_member == metrics["best_member"] == int(np.argmin(forces))
    assert len(metrics["members"][0]["curve"]["train_loss"]) == 12
    assert not list(tmp_path.glob(".member*"))

    whole = path.read_bytes()
    path.unlink()
    (tmp_path / "member_1.safetensors").unlink()  # as if killed before member 1 was finished
    again, progress = run(tmp_path)
    assert progress.stages == [("training", 12)]
    assert again.read_bytes() == whole

    _, progress = run(tmp_path, settings=FAST.model_copy(update={"epochs": 2}))
    assert progress.stages == [("training", 4)]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r"frame 2 \(CH4\): expected an energy and forces"):
        run(tmp_path, frames=[*data(2), molecule("CH4")])
    with pytest.raises(AlrareError, match="one split for each of 2 members, got 1"):
        run(tmp_path, splits=splits()[:1])
    with pytest.raises(AlrareError, match="split of member 0: expected every one of 24 config"):
        run(tmp_path, splits=splits(23))
    with pytest.raises(AlrareError, match="at least 2 labelled frames, got 1"):
        run(tmp_path, frames=data(1))
    with pytest.raises(AlrareError, match=r"needs training and validation configurations, got 24"):
        run(tmp_path, splits=[Split(tuple(range(24)), ())] * 2)
    assert not list(tmp_path.iterdir())


def test_a_diverged_training_is_an_error(tmp_path: Path) -> None:
    settings = config.Train(recipe="paper", epochs=3, learning_rate=1e30)
    with pytest.raises(AlrareError, match="training diverged"):
        run(tmp_path, settings=settings)
