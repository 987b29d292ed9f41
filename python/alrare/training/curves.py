"""Learning curves: a table, a figure and, with `[train] tensorboard`, TensorBoard event files."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..errors import AlrareError
from ..figures import figure_style
from ..files import atomic_path

COLUMNS = (
    "learning_rate",
    "train_loss",
    "validation_energy_rmse",
    "validation_force_mae",
)
"""Columns of curves.csv after `member` and `epoch`: rate, loss of eq. 3, eV, eV/Å."""

Curve = Mapping[str, Sequence[float]]
"""For each of `COLUMNS`, one value per epoch."""


def write_csv(path: Path, curves: Sequence[Curve]) -> None:
    """Write the curves of all members, one row per member and epoch."""
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("member", "epoch", *COLUMNS))
        for member, curve in enumerate(curves):
            rows = zip(*(curve[name] for name in COLUMNS), strict=True)
            for epoch, row in enumerate(rows, start=1):
                table.writerow((member, epoch, *(f"{value:.8g}" for value in row)))


def write_figure(path: Path, curves: Sequence[Curve], best_epochs: Sequence[int]) -> None:
    """Draw loss and validation errors against the epoch as a PNG; a dot marks the best epoch."""
    import matplotlib
    from matplotlib.figure import Figure

    panels = (
        ("train_loss", "training loss (eq. 3)", 1.0),
        ("validation_energy_rmse", "validation energy RMSE (meV)", 1e3),
        ("validation_force_mae", "validation force MAE (meV/Å)", 1e3),
    )
    with figure_style({"font.size": 9.0}):
        figure = Figure(figsize=(9.0, 3.0), layout="constrained")
        colors = matplotlib.colormaps["viridis"]
        for axes, (name, label, factor) in zip(figure.subplots(1, 3), panels, strict=True):
            for member, curve in enumerate(curves):
                color = colors(0.9 * member / max(len(curves) - 1, 1))
                values = [factor * value for value in curve[name]]
                axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.0)
                best = best_epochs[member]
                axes.plot([best], [values[best - 1]], "o", color=color, markersize=3.0)
            axes.set_yscale("log")
            axes.set_xlabel("epoch")
            axes.set_ylabel(label)
            axes.spines[["top", "right"]].set_visible(False)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", dpi=160, metadata={"Software": None})


class EventWriter(Protocol):
    """The methods of TensorBoard's `SummaryWriter` that alrare calls."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> Any:
        """Add one point of a curve."""

    def close(self) -> None:
        """Write what is still buffered."""


def open_events(folder: Path) -> EventWriter:
    """Open a writer of TensorBoard event files; `tensorboard --logdir` shows them live.

    Raises
    ------
    AlrareError
        If the package tensorboard, an optional one, is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AlrareError(
            "TensorBoard files need the package tensorboard: pip install tensorboard; or train"
            " without them ([train] tensorboard), curves.csv and curves.png are written always"
        ) from error
    writer: EventWriter = SummaryWriter(str(folder))
    return writer
