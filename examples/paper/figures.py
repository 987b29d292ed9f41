"""Tables and panels that several figures share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from alrare.exploration import STYLE, draw_work, save_figure, summarize
from alrare.tables import mean_with_sem, table_text
from campaigns import Pulled, Study
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

RED, BLUE, GREEN = "#c0392b", "#2c6fbb", "#27ae60"


def show_table(
    study: Study, name: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *notes: str
) -> None:
    """Print a table with notes below, and keep it as NAME.txt."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = "\n".join([table_text(table, width=140), "", *notes])
    study.folder.mkdir(parents=True, exist_ok=True)
    (study.folder / f"{name}.txt").write_text(text + "\n")
    made = [end for end in (".png", ".svg", ".txt") if (study.folder / f"{name}{end}").is_file()]
    print(f"{text}\n{study.folder / name}{', '.join(made)}")


@contextmanager
def drawing(target: Path, *, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure in the style of alrare's own; it is saved as target.png and target.svg."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        save_figure(figure, target)


COMPARED = ("labeller (eV)", "model (eV)", "error (eV)", "break (eV)", "same bond")
"""Headings of `compared`: activation energies, their difference, that of the work at the break."""


def compared(model: Pulled, labeller: Pulled) -> list[str]:
    """Return a row of the activation energy by the labeller and by a model, seed by seed."""
    summary = summarize(model.observables, labeller.observables)
    shared = len(model.observables.keys() & labeller.observables.keys())
    return [
        mean_with_sem(summarize(labeller.observables)["mean"]["activation_energy"]),
        mean_with_sem(summary["mean"]["activation_energy"]),
        mean_with_sem(summary["difference"]["activation_energy"], "+"),
        mean_with_sem(summary["difference"]["work_at_event"], "+"),
        f"{summary['same_event']} of {shared}",
    ]


def draw_pulls(target: Path, panels: Mapping[str, tuple[Pulled, Pulled]], *, columns: int) -> None:
    """Draw a panel of work curves, labeller and model, for each of several pulls.

    Parameters
    ----------
    target : Path
        Without its suffix.
    panels : mapping from title to (model, labeller)
    columns : int
        Panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(target, width=2.4 * columns + 0.4, height=2.1 * rows + 0.3) as figure:
        grid = np.ravel(figure.subplots(rows, columns, sharey=True, squeeze=False))
        for axes, (title, (model, labeller)) in zip(grid, panels.items(), strict=False):
            draw_work(
                axes,
                reference=labeller.curves,
                iterations={1: model.curves},
                names={1: "model"},
            )
            axes.set_title(title, fontsize=9)
        for place, axes in enumerate(grid):
            if place >= len(panels):
                axes.remove()
                continue
            if place % columns:
                axes.set_ylabel("")
            if place + columns < len(panels):
                axes.set_xlabel("")
            if place and axes.get_legend() is not None:
                axes.get_legend().remove()
