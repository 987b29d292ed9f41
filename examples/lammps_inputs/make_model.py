"""Label configurations with GFN2-xTB, train hexane.safetensors on them (15 minutes, 2 cores).

    python make_model.py FOLDER

FOLDER keeps the labelled frames and the training, and is used again if it is there. The model is
small (three members of 48-32-24) to be quick and light in the repository. It knows hexane at 500 K,
hexane drawn to 9.5 Å, and a few hexanes beside each other: for trying inputs, not for results.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from alrare.config import Labeller, Model, Train
from alrare.frames import labelled, read_frames, write_frames
from alrare.labelling import method_of
from alrare.progress import open_progress
from alrare.training import random_split, train_ensemble
from ase import Atoms, units
from ase.constraints import FixBondLength
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from make_data import HERE, alkane_box, hexane
from tblite.ase import TBLite

METHOD = Labeller()  # GFN2-xTB at an electronic temperature of 300 K
MODEL = Model(members=3, hidden={"H": (48, 32, 24)}, hidden_default=(48, 32, 24))
TRAIN = Train(recipe="fast", epochs=60, batch_size=32, force_weight=1.0)


def dynamics(
    atoms: Atoms, *, temperature: float, steps: int, every: int, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Yield labelled copies of every `every`-th step of an MD at `temperature` (K)."""
    atoms.calc = TBLite(
        method=METHOD.method, electronic_temperature=METHOD.electronic_temperature, verbosity=0
    )
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    md = Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02, fixcm=False, rng=rng
    )
    for _ in md.irun(steps):
        if md.nsteps % every == 0 and md.nsteps > 0:
            forces = atoms.get_forces(apply_constraint=False)
            frame = Atoms(atoms.numbers, atoms.positions)
            yield labelled(frame, atoms.get_potential_energy(), forces)


def labelled_frames(rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield the training data."""
    yield from dynamics(hexane(), temperature=500.0, steps=3000, every=10, rng=rng)
    molecule = hexane()
    for distance in np.arange(6.2, 9.6, 0.05):
        molecule.set_constraint()
        molecule.set_distance(0, 5, distance, fix=0.5)
        molecule.set_constraint(FixBondLength(0, 5))
        yield from dynamics(molecule, temperature=200.0, steps=40, every=8, rng=rng)
    for repeats in ((1, 2, 2), (2, 1, 2)):
        cluster = alkane_box(repeats)
        cluster.pbc = False
        yield from dynamics(cluster, temperature=300.0, steps=400, every=8, rng=rng)


def main(folder: Path) -> None:
    """Label, train, and put the model beside the inputs; what is there already is kept."""
    rng = np.random.default_rng(1)
    path = folder / "frames.extxyz"
    if not path.exists():
        write_frames(path, labelled_frames(rng))
    frames = read_frames(path)
    splits = [
        random_split(len(frames), train_fraction=TRAIN.train_fraction, rng=rng)
        for _ in range(MODEL.members)
    ]
    ensemble = train_ensemble(
        frames,
        model=MODEL,
        settings=TRAIN,
        splits=splits,
        seed=1,
        folder=folder,
        method=method_of(METHOD, ["H", "C"]).hash,
        workers=0,
        progress=open_progress(),
    )
    shutil.copy(ensemble, HERE / "hexane.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
