"""Fig. 2: the labeller's pull, and models that never saw what matters.

Pulls hexane with the labeller; with a model trained on 500 K MD alone, which breaks the chain far
too early; and with a model trained on the frames of one pull of the labeller alone. All with the
same seeds. Paper (DFTB3, one pull): 6.34 eV; about 1.0 eV (error 5.4); about 5.5 eV (error 0.9).

    python examples/paper/fig2.py [--every-step] [--labeller dftb3 --slater-koster DIR]

The paper's second model knows all 6500 steps of the pull. Here it knows every tenth, which a pull
keeps; with --every-step the pull of the first seed is repeated and every step kept.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from alrare.config import Pull
from alrare.exploration import (
    TRAJECTORY_FILE,
    LabellerMD,
    labeller_potential,
    plot_work,
    pull_input,
    run_md,
)
from alrare.frames import read_frames
from alrare.labelling import method_of
from alrare.structure import elements_of
from alrare.training import random_split, train_ensemble
from ase import Atoms
from campaigns import (
    Study,
    iteration_pulls,
    iterations_of,
    option_parser,
    reference_pulls,
    run_figure,
)
from figures import COMPARED, compared, show_table

MEMBERS = 3
TAKES = {"fast": "4 minutes", "paper": "20 minutes"}


def every_step(study: Study, structure: Atoms, pull: Pull) -> Path:
    """Repeat the labeller's pull of the first seed; return the trajectory with all its steps."""
    folder = study.root / "labeller" / f"every_step_{pull.seeds[0]}"
    partial = folder.with_name(f".{folder.name}.partial")
    elements = tuple(elements_of(structure))
    if not folder.is_dir():
        partial.mkdir(parents=True, exist_ok=True)
        task = LabellerMD(
            text=pull_input(
                potential=labeller_potential(elements),
                pull=pull,
                seed=pull.seeds[0],
                timestep=study.settings.timestep,
            ),
            structure=structure,
            elements=elements,
            labeller=study.settings.labeller,
            stride=1,
            pulled=pull.atoms,
            folder=partial,
        )
        with (
            study.progress.stage("labeller's pull, every step", total=None),
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        ):
            pool.submit(run_md, task).result()
        partial.rename(folder)
    return folder / TRAJECTORY_FILE


def train_on_pull(study: Study, trajectory: Path) -> Path:
    """Train on the labelled frames of one pull alone; return the model."""
    frames, settings = read_frames(trajectory), study.settings
    rng = np.random.default_rng(settings.seed)
    fraction = settings.train.train_fraction
    splits = [random_split(len(frames), train_fraction=fraction, rng=rng) for _ in range(MEMBERS)]
    return train_ensemble(
        frames,
        splits=splits,
        model=settings.model.model_copy(update={"members": MEMBERS}),
        settings=settings.train,
        seed=settings.seed,
        folder=study.folder / f"pull-frames-{len(frames)}",
        method=method_of(settings.labeller, elements_of(frames[0])).hash,
        workers=settings.run.workers,
        progress=study.progress,
    )


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    reference, pull = study.reference(), study.pull
    labeller, structure = reference_pulls(reference), study.relaxed()
    run = study.campaign(
        "initial",
        {"iterations": 0, "reference": str(reference), "model": {"members": MEMBERS}},
    )
    initial = iteration_pulls(run, iterations_of(run)[0])
    trajectory = (
        every_step(study, structure, pull)
        if options.every_step
        else labeller.folder / f"pull_{pull.seeds[0]}" / TRAJECTORY_FILE
    )
    model = train_on_pull(study, trajectory)
    of_pull = study.pull_with_model(model, "fig2", structure, pull)
    names = {0: "500 K data alone", 1: "frames of one pull alone"}
    plot_work(
        study.folder / "fig2",
        reference=labeller.curves,
        iterations={0: initial.curves, 1: of_pull.curves},
        names=names,
    )
    n_frames = len(read_frames(trajectory))
    show_table(
        study,
        "fig2",
        ("trained on", "frames", *COMPARED),
        [
            [names[0], str(iterations_of(run)[0]["n_labels"]), *compared(initial, labeller)],
            [names[1], str(n_frames), *compared(of_pull, labeller)],
        ],
        "Paper: 6.34 eV; 500 K data 1.0 eV (error 5.4); all 6500 steps of the pull 5.5 eV (0.9).",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = option_parser(__doc__)
    parser.add_argument(
        "--every-step", action="store_true", help="train on every step of the pull, not every tenth"
    )
    return run_figure(draw, parser, takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
