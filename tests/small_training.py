"""Small trainings that the tests of training share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from alrare import config
from alrare.frames import labelled
from alrare.model.aev import AEVConstants
from alrare.model.ensemble import Metadata
from alrare.progress import SilentProgress, Stage
from alrare.training.ani_trainer import AniTrainer
from alrare.training.dataset import Dataset, Split, make_dataset, random_split
from alrare.training.descriptor_cache import DescriptorCache
from alrare.training.ensemble import train_ensemble
from alrare.training.member import Fit, fit_member
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
    """Random splits, one per member."""
    rng = np.random.default_rng(1)
    return [random_split(n, train_fraction=0.8, rng=rng) for _ in range(members)]


def fit(
    folder: Path,
    settings: config.Train,
    seed: int = 1,
    frames: list[Atoms] | None = None,
    dataset: Dataset | None = None,
    start: dict[str, torch.Tensor] | None = None,
    split: Split | None = None,
) -> Fit:
    """Fit one small member."""
    frames = frames or data()
    dataset = dataset or make_dataset(frames)
    cache = DescriptorCache(folder, constants=AEVConstants(), elements=dataset.elements)
    cache.add(frames)
    split = split or splits()[0]
    trainer = AniTrainer(
        cache, cache.keys(frames), dataset, split, metadata(frames), settings, seed, start
    )
    return fit_member(trainer, split=split, settings=settings, seed=seed, report=lambda epoch: None)


def metadata(frames: list[Atoms]) -> Metadata:
    """Describe the model that `fit` trains."""
    dataset = make_dataset(frames)
    hidden = dict.fromkeys(dataset.elements, (24, 16))
    return Metadata(dataset.elements, hidden, tuple(dataset.self_energies), members=1)


class Recorder(SilentProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Stage]:
        self.stages.append((name, total))
        with super().stage(name, total) as stage:
            yield stage


def run(folder: Path, **changes: object) -> tuple[Path, Recorder]:
    """Train two small members; `changes` are arguments of `train_ensemble`."""
    progress = Recorder()
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
