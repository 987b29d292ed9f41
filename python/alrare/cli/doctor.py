"""`alrare doctor`: the installation, and then a campaign on ethane small enough for a minute."""

import json
import math
import shutil
import tempfile
import time
from pathlib import Path

from ..errors import AlrareError
from ..progress import Progress

TRY = """\
# A campaign that tries the installation: every stage, with numbers far too small for chemistry.
name = "ethane"
structure = "ethane.xyz"
iterations = 1

[initial]
equilibration_steps = 20
steps = 200
stride = 5

[pull]
atoms = [1, 2]
rate = 20.0
relax_steps = 20
steps = 200
temperature = 50.0
plus_steps = 50
thermostat = "langevin"
seeds = [1, 2]

[model]
members = 2
hidden_default = [16, 12]

[train]
epochs = 8
batch_size = 16
learning_rate = 1e-2
weight_decay = 1e-3

[select]
sigma = 1.0
screening_steps = 20
energy_gap = 0.01
max_per_iteration = 6
around_event = 6
event_window = [100, 50]
max_force = 1e3
max_energy = 1e3

[augment]
copies = 0
"""
"""The al.toml of the trial; the labeller is the default, tblite with GFN2-xTB."""


def try_campaign(progress: Progress, folder: Path | None = None) -> str:
    """Run the small campaign to its end; return one line that says what was done.

    Parameters
    ----------
    progress : Progress
        Shows the progress.
    folder : Path, optional
        Where it is kept; by default in a temporary folder, which goes away unless something fails.

    Raises
    ------
    AlrareError
        If a stage fails, or its numbers are not numbers. The message names the folder, where
        `alrare run` would go on.
    """
    from ase.build import molecule
    from ase.io import write

    from ..campaign.loop import run_campaign

    kept = folder is not None
    folder = folder or Path(tempfile.mkdtemp(prefix="alrare-doctor-"))
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "al.toml"
    began = time.monotonic()
    try:
        config.write_text(TRY, encoding="utf-8")
        write(folder / "ethane.xyz", molecule("C2H6"))
        run = run_campaign(config, runs=folder / "runs", progress=progress)
        n_labels = _labels_of(run / "results.json")
    except AlrareError as error:
        raise AlrareError(f"{error}\nthe trial is in {folder}: see {folder}/runs/ethane") from error
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    where = f"; it is in {folder}" if kept else ""
    return (
        f"works: a campaign on ethane, with {n_labels} labels in its last model, ran to its end in"
        f" {time.monotonic() - began:.0f} s{where}"
    )


def _labels_of(path: Path) -> int:
    """Return the number of labels of the last model, after looking at what was observed.

    Raises
    ------
    AlrareError
        If an error on the labeller's pulls is missing or not a number.
    """
    iterations = json.loads(path.read_text(encoding="utf-8"))["iterations"]
    for row in iterations:
        for system in row["systems"].values():
            for key in ("energy_mae", "force_mae"):
                value = system["test"][key]
                if value is None or not math.isfinite(value):
                    raise AlrareError(f"{path}: iteration {row['iteration']}: {key} is {value}")
    return int(iterations[-1]["n_labels"])
