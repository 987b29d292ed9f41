"""What alrare adds: paired pulls, error bars, calibration, and how few labels are enough.

    python examples/paper/ours.py [RUN ...] [--seeds 1-6] [--iterations 10]

Without RUN, runs the campaign of `make demo`, but 10 iterations of it: 300 initial frames, 5
members whose mean drives the pulls, labels spread over the pull and around its break, and the
Langevin thermostat, whose noise model and labeller share seed by seed; six seeds.
With RUN, shows finished campaigns beside each other: run folders, or their results.json, such as
those of fig3.py and fig5.py; the figure is then runs.png.

Printed by iteration: labels, error of the activation energy with its standard error, error of the
barrier on the labeller's own pulls, errors on their frames, and rms error over rms energy_std on
the new labels (above 1: over-confident). Then the least labels after which the error stays below
0.0434 eV (1 kcal/mol) for three iterations in a row.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from alrare.exploration import draw_abs_errors
from alrare.tables import number, with_sem
from alrare.units import KCAL_PER_MOL
from campaigns import Study, base_content, iterations_of, merged, option_parser, run_figure
from figures import drawing, show_table

TAKES = {"fast": "15 minutes", "paper": "2 hours"}
IN_A_ROW = 3
OURS = merged(base_content("../hexane/al.toml"), {"iterations": 10, "stop": {"small_changes": 0}})
"""The campaign of `make demo`, but all its iterations."""
HEADINGS = (
    "iteration",
    "labels",
    "error (eV)",
    "barrier (meV)",
    "energy MAE (meV)",
    "force MAE (meV/Å)",
    "error/std",
)


def labels_needed(
    rows: Sequence[Mapping[str, Any]], *, limit: float = KCAL_PER_MOL, in_a_row: int = IN_A_ROW
) -> int | None:
    """Return the least labels from which the error is below a limit some iterations in a row.

    Parameters
    ----------
    rows : sequence of mappings
        Iterations of results.json, in order.
    limit : float, eV
        Of the size of the error.
    in_a_row : int
        Iterations; their first one's labels count.

    Returns
    -------
    int or None
        None if that never happened.
    """
    good = [row["error"] is not None and abs(row["error"]) < limit for row in rows]
    for first in range(len(rows) - in_a_row + 1):
        if all(good[first : first + in_a_row]):
            return int(rows[first]["n_labels"])
    return None


def run_folder(path: Path) -> Path:
    """Return the run folder that was given, itself or by its results.json."""
    return path.parent if path.name == "results.json" else path


def cells(row: Mapping[str, Any]) -> list[str]:
    """Lay out one iteration."""
    return [
        str(row["iteration"]),
        str(row["n_labels"]),
        with_sem(row["error"], row["error_sem"], "+"),
        number(row["barrier_error"], factor=1000, digits=1),
        number(row["energy_mae_test"], factor=1000, digits=1),
        number(row["force_mae_test"], factor=1000, digits=1),
        number(row["calibration"]["energy_ratio"], factor=1, digits=1),
    ]


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    folders = [run_folder(path) for path in options.runs_given]
    name = "runs" if folders else "ours"
    if not folders:
        folders = [replace(study, base=OURS).campaign("ours", {})]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = dict(zip(names, map(iterations_of, folders), strict=True))
    colors = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, len(runs)))
    with drawing(study.folder / name, width=6.0, height=4.2) as figure:
        axes = figure.subplots()
        draw_abs_errors(axes, runs, colors=list(colors), x="n_labels")
        axes.set_xlabel("labels")
        axes.set_ylabel("activation energy, |error| (eV)")
    notes = []
    for run, rows in runs.items():
        needed = labels_needed(rows)
        found = "never" if needed is None else f"from {needed} labels on"
        notes.append(f"{run}: below {KCAL_PER_MOL} eV {IN_A_ROW} iterations in a row: {found}")
    show_table(
        study,
        name,
        ("run", *HEADINGS),
        [[run, *cells(row)] for run, rows in runs.items() for row in rows],
        *notes,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = option_parser(__doc__)
    parser.add_argument("runs_given", nargs="*", type=Path, metavar="RUN")
    return run_figure(draw, parser, takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
