"""Figures of a campaign: work curves, and errors per iteration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..files import atomic_path
from ..units import KCAL_PER_MOL
from .work import WorkCurve

POINTS = 800
"""Largest number of points drawn per curve."""
NAMED = 7
"""At most this many iterations are named in a legend; beyond it every n-th one is."""
INK = "#1a1a1a"
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "alrare",
}


def plot_work(
    target: Path,
    *,
    reference: Sequence[WorkCurve],
    iterations: Mapping[int, Sequence[WorkCurve]],
    names: Mapping[int, str] | None = None,
) -> None:
    """Draw the work against the spring distance, as target.png and target.svg.

    The bold line is the mean over the seeds at equal steps; each seed is a faint line.

    Parameters
    ----------
    target : Path
        Without its suffix.
    reference : sequence of WorkCurve
        The labeller's pulls; may be empty.
    iterations : mapping from iteration to sequence of WorkCurve
        The model's pulls.
    names : mapping from iteration to str, optional
        Legend entries that replace "iteration N".
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 4.2), layout="constrained")
        draw_work(figure.subplots(), reference=reference, iterations=iterations, names=names)
        save_figure(figure, target)


def draw_work(
    axes: Axes,
    *,
    reference: Sequence[WorkCurve],
    iterations: Mapping[int, Sequence[WorkCurve]],
    names: Mapping[int, str] | None = None,
) -> None:
    """Draw the work against the spring distance into axes; see `plot_work`."""
    _draw_pulls(axes, reference, "labeller", "black", "-", order=2, width=3.2)
    given = {0: "initial model", **(names or {})}
    every = 1 + (len(iterations) - 1) // NAMED
    for number, color in _colors(iterations).items():
        shown = (max(iterations) - number) % every == 0  # the others are told by their color
        label = given.get(number, f"iteration {number}" if shown else "")
        style = "--" if number == 0 else "-"
        _draw_pulls(axes, iterations[number], label, color, style, order=4)
    axes.set_xlabel("spring distance (Å)")
    axes.set_ylabel("work (eV)")
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.margins(x=0.01)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left")


def plot_errors(target: Path, *, results: Mapping[str, Any]) -> None:
    """Draw activation energy and errors per iteration, as target.png and target.svg.

    Parameters
    ----------
    target : Path
        Without its suffix.
    results : mapping
        Results of one system: `campaign.of_system`.
    """
    rows = results["iterations"]
    reference = results.get("reference") or {}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 5.2), layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=[1, 1.2])
        _draw_energy(above, rows, reference)
        _draw_error(below, rows)
        figure.align_ylabels()
        save_figure(figure, target)


def _draw_energy(
    axes: Axes, rows: Sequence[Mapping[str, Any]], reference: Mapping[str, Any]
) -> None:
    level = reference.get("activation_energy")
    if level is not None:
        axes.axhline(level, color="black", linewidth=1.2, label="labeller")
        sem = reference.get("activation_energy_sem") or 0.0
        axes.axhspan(level - sem, level + sem, color="black", alpha=0.12, linewidth=0)
    x, y, bar = _column(rows, "activation_energy", "activation_energy_sem")
    axes.errorbar(x, y, yerr=bar, fmt="o-", color="#c0392b", capsize=3, label="model")
    axes.set_ylabel("activation energy (eV)")
    axes.legend(loc="best")


def _draw_error(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    x_test, test, _ = _column(rows, "energy_mae_test", None)
    axes.plot(x_test, test, "s--", color="#2c6fbb", markersize=4, label="test pulls, MAE")
    draw_abs_errors(axes, {"activation energy, |error|": rows}, colors=["#c0392b"])


def draw_abs_errors(
    axes: Axes,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    colors: Sequence[Any],
    x: str = "iteration",
) -> None:
    """Draw the absolute error of the activation energy with its standard error, on a log scale.

    Parameters
    ----------
    axes : Axes
        Lines that they contain already stay within the limits.
    runs : mapping from label to sequence of mappings
        Iterations of results.json.
    colors : sequence of colors
        One per run.
    x : str
        Key of an iteration that is the horizontal axis: `iteration` or `n_labels`.
    """
    known = [line.get_ydata() for line in axes.get_lines()]
    axes.axhspan(1e-6, KCAL_PER_MOL, color="#27ae60", alpha=0.15, linewidth=0, label="1 kcal/mol")
    for (label, rows), color in zip(runs.items(), colors, strict=True):
        at, error, bar = _column(rows, "error", "error_sem", x)
        size = np.maximum(np.abs(error), 1e-4)
        low = np.minimum(bar, 0.9 * size)
        axes.errorbar(at, size, yerr=[low, bar], fmt="o-", color=color, capsize=3, label=label)
        known += [size, size + bar]
    values = np.concatenate([*known, [KCAL_PER_MOL]]).astype(float)
    axes.set_yscale("log")
    axes.set_ylim(min(0.01, 0.5 * values.min()), 2.0 * values.max())
    axes.set_xlabel(x)
    axes.set_ylabel("error (eV)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")


def _draw_pulls(
    axes: Axes,
    curves: Sequence[WorkCurve],
    label: str,
    color: Any,
    style: str,
    *,
    order: int,
    width: float = 1.6,
) -> None:
    curves = [curve for curve in curves if len(curve.work) > 0]
    for curve in curves:
        if len(curves) > 1:
            thin = _thin(len(curve.work))
            axes.plot(
                curve.distance[thin], curve.work[thin], style, color=color, alpha=0.3,
                linewidth=0.7, zorder=order - 1,
            )  # fmt: skip
    if curves:
        shared = min(len(curve.work) for curve in curves)
        distance = np.mean([curve.distance[:shared] for curve in curves], axis=0)
        work = np.mean([curve.work[:shared] for curve in curves], axis=0)
        thin = _thin(shared)
        axes.plot(
            distance[thin], work[thin], style, color=color, linewidth=width, zorder=order,
            label=label,
        )  # fmt: skip


def _thin(n: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).astype(np.intp))


def _colors(iterations: Mapping[int, Any]) -> dict[int, Any]:
    """Return a color per iteration: gray for iteration 0, then a scale in order of iterations."""
    learned = [number for number in sorted(iterations) if number > 0]
    shades = matplotlib.colormaps["plasma"](np.linspace(0.82, 0.15, max(len(learned), 1)))
    colors: dict[int, Any] = {0: "0.5"} if 0 in iterations else {}
    return colors | dict(zip(learned, shades, strict=False))


def _column(
    rows: Sequence[Mapping[str, Any]], key: str, spread: str | None, at: str = "iteration"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    known = [row for row in rows if row.get(key) is not None]
    x = np.array([row[at] for row in known], dtype=float)
    y = np.array([row[key] for row in known], dtype=float)
    bar = np.array([(row.get(spread) or 0.0) if spread else 0.0 for row in known])
    return x, y, bar


def save_figure(figure: Figure, target: Path) -> None:
    """Write target.png and target.svg."""
    for suffix, extra in ((".png", {"dpi": 200}), (".svg", {"metadata": {"Date": None}})):
        with atomic_path(target.with_suffix(suffix)) as partial:
            figure.savefig(partial, **extra)
