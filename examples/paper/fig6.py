"""Fig. 6: random splits with 3 members against inherited splits with 7.

    python examples/paper/fig6.py [--recipe paper] [--labeller dftb3 --slater-koster DIR]

Activation energy by iteration, and the energies of the labeller's pulls, which no model sees, by
the labeller and by the model: before any active learning and at the end. Uses the campaigns of
fig3.py and fig5.py; makes them if they are not there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from alrare.campaign import of_system, read_results
from alrare.exploration import TRAJECTORY_FILE
from alrare.frames import label_of, read_frames
from alrare.model import compare
from alrare.tables import number, with_sem
from ase import Atoms
from campaigns import Study, iteration_folder, iterations_of, option_parser, run_figure
from figures import BLUE, RED, drawing, show_table
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

TAKES = {"fast": "30 minutes", "paper": "10 hours"}
STRATEGIES = {"random": 3, "inherited": 7}
Floats = NDArray[np.float64]


def relative_energies(model: Path, frames: Sequence[Atoms], study: Study) -> tuple[Floats, Floats]:
    """Return the (N,) energies of frames by labeller and driving member, eV above their means."""
    labels = np.array([label_of(frame)[0] for frame in frames])
    error = compare(model, frames, forces=study.settings.forces).energy
    return labels - labels.mean(), labels + error - (labels + error).mean()


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    runs = {split: study.learn(split, members) for split, members in STRATEGIES.items()}
    rows = {split: iterations_of(run) for split, run in runs.items()}
    trajectories = sorted((study.reference() / "reference").glob(f"pull_*/{TRAJECTORY_FILE}"))
    frames = [frame for path in trajectories for frame in read_frames(path)]
    with drawing(study.folder / "fig6", width=8.4, height=6.8) as figure:
        for (left, right), (split, run) in zip(figure.subplots(2, 2), runs.items(), strict=True):
            _draw_energies(left, run, rows[split], f"{split}, {STRATEGIES[split]} members")
            for row, color in ((rows[split][0], BLUE), (rows[split][-1], RED)):
                model = iteration_folder(run, row) / "ensemble.safetensors"
                label = f"iteration {row['iteration']}"
                _draw_scatter(right, *relative_energies(model, frames, study), color, label)
    show_table(
        study,
        "fig6",
        ("iteration", *(f"{split}, {key}" for split in runs for key in ("E_a (eV)", "MAE (meV)"))),
        [
            [str(both[0]["iteration"]), *(cell for row in both for cell in _cells(row))]
            for both in zip(*rows.values(), strict=False)
        ],
        f"MAE: relative energy of the {len(frames)} frames of the test pulls.",
    )


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    energy = with_sem(row["activation_energy"], row["activation_energy_sem"])
    return energy, number(row["energy_mae_test"], factor=1000, digits=1)


def _draw_energies(axes: Axes, run: Path, rows: Sequence[dict[str, Any]], title: str) -> None:
    reference = of_system(read_results(run))["reference"]
    level, spread = reference["activation_energy"], reference["activation_energy_sem"] or 0.0
    axes.axhline(level, color="black", linewidth=1.2, label="labeller")
    axes.axhspan(level - spread, level + spread, color="black", alpha=0.12, linewidth=0)
    axes.errorbar(
        [row["iteration"] for row in rows],
        [row["activation_energy"] for row in rows],
        yerr=[row["activation_energy_sem"] or 0.0 for row in rows],
        fmt="o-",
        color=RED,
        capsize=3,
        label="model",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel("activation energy (eV)")
    axes.set_title(title, fontsize=9)
    axes.legend(loc="best")


def _draw_scatter(axes: Axes, labels: Floats, model: Floats, color: str, name: str) -> None:
    ends = [labels.min(), labels.max()]
    axes.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    axes.plot(labels, model, ".", color=color, markersize=2.5, label=name)
    axes.set_xlabel("energy by the labeller, relative (eV)")
    axes.set_ylabel("energy by the model, relative (eV)")
    axes.legend(loc="upper left", markerscale=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    return run_figure(draw, option_parser(__doc__), takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
