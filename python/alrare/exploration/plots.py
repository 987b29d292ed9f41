"""Figures of a campaign: work curves, and errors per iteration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..figures import figure_style
from ..files import atomic_path
from ..tables import with_unit
from ..units import KCAL_PER_MOL
from .exploration import ACTIVATION_ENERGY

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


class Curve(Protocol):
    """A curve of one run, with one point per step."""

    @property
    def x(self) -> NDArray[np.float64]:
        """(n,)."""

    @property
    def y(self) -> NDArray[np.float64]:
        """(n,)."""


def plot_work(
    target: Path,
    *,
    reference: Sequence[Curve],
    iterations: Mapping[int, Sequence[Curve]],
    names: Mapping[int, str] | None = None,
    labels: tuple[str, str] = (ACTIVATION_ENERGY.x[1], ACTIVATION_ENERGY.y[1]),
    decided: Sequence[tuple[float, float]] = (),
) -> None:
    """Draw the work against the spring distance, or another curve, as target.png and target.svg.

    The bold line is the mean over the seeds at equal steps; each seed is a faint line.

    Parameters
    ----------
    target : Path
        Without its suffix.
    reference : sequence of Curve
        Of the labeller's runs; may be empty.
    iterations : mapping from iteration to sequence of Curve
        Of the model's runs.
    names : mapping from iteration to str, optional
        Legend entries that replace "iteration N".
    labels : (str, str)
        Of the axes.
    decided : sequence of (float, float)
        Points of the curves that are marked: those that decide the observable.
    """
    with figure_style(STYLE):
        figure = Figure(figsize=(6.0, 4.2), layout="constrained")
        axes = figure.subplots()
        draw_work(axes, reference=reference, iterations=iterations, names=names, labels=labels)
        if decided:
            x, y = np.transpose(decided)
            axes.plot(x, y, "o", color=INK, markersize=4, zorder=6, label=ACTIVATION_ENERGY.name)
            axes.legend(loc="upper left")
        save_figure(figure, target)


def draw_work(
    axes: Axes,
    *,
    reference: Sequence[Curve],
    iterations: Mapping[int, Sequence[Curve]],
    names: Mapping[int, str] | None = None,
    labels: tuple[str, str] = (ACTIVATION_ENERGY.x[1], ACTIVATION_ENERGY.y[1]),
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
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    axes.margins(x=0.01)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left")


def plot_errors(target: Path, *, results: Mapping[str, Any]) -> None:
    """Draw the observable and errors per iteration, as target.png and target.svg.

    Parameters
    ----------
    target : Path
        Without its suffix.
    results : mapping
        Results of one system: `campaign.of_system`.
    """
    rows = results["iterations"]
    reference = results.get("reference") or {}
    with figure_style(STYLE):
        figure = Figure(figsize=(6.0, 5.2), layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=[1, 1.2])
        observable = results.get("observable") or ACTIVATION_ENERGY.to_json()
        _draw_observable(above, rows, reference, observable)
        _draw_error(below, rows, observable)
        figure.align_ylabels()
        save_figure(figure, target)


def _draw_observable(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    reference: Mapping[str, Any],
    observable: Mapping[str, Any],
) -> None:
    key = observable["key"]
    level = reference.get(key)
    if level is not None:
        axes.axhline(level, color="black", linewidth=1.2, label="labeller")
        sem = reference.get(f"{key}_sem") or 0.0
        axes.axhspan(level - sem, level + sem, color="black", alpha=0.12, linewidth=0)
    x, y, bar = _column(rows, key, f"{key}_sem")
    axes.errorbar(x, y, yerr=bar, fmt="o-", color="#c0392b", capsize=3, label="model")
    axes.set_ylabel(with_unit(observable["name"], observable["unit"]))
    axes.legend(loc="best")


def _draw_error(
    axes: Axes, rows: Sequence[Mapping[str, Any]], observable: Mapping[str, Any]
) -> None:
    in_ev = observable["unit"] == "eV"
    if in_ev:
        x_test, test, _ = _column(rows, "energy_mae_test", None)
        label = f"test {observable['runs']}s, MAE"
        axes.plot(x_test, test, "s--", color="#2c6fbb", markersize=4, label=label)
    draw_abs_errors(
        axes,
        {f"{observable['name']}, |error|": rows},
        colors=["#c0392b"],
        unit=observable["unit"],
        tolerance=None if in_ev else observable["tolerance"],
    )


def draw_abs_errors(
    axes: Axes,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    colors: Sequence[Any],
    x: str = "iteration",
    unit: str = "eV",
    tolerance: float | None = None,
) -> None:
    """Draw the absolute error of the observable with its standard error, on a log scale.

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
    unit : str
        Of the observable.
    tolerance : float, optional
        Errors below this are shaded; by default 1 kcal/mol.
    """
    known = [line.get_ydata() for line in axes.get_lines()]
    small = KCAL_PER_MOL if tolerance is None else tolerance
    name = "1 kcal/mol" if tolerance is None else "tolerance"
    axes.axhspan(1e-6, small, color="#27ae60", alpha=0.15, linewidth=0, label=name)
    for (label, rows), color in zip(runs.items(), colors, strict=True):
        at, error, bar = _column(rows, "error", "error_sem", x)
        size = np.maximum(np.abs(error), 1e-4)
        low = np.minimum(bar, 0.9 * size)
        axes.errorbar(at, size, yerr=[low, bar], fmt="o-", color=color, capsize=3, label=label)
        known += [size, size + bar]
    values = np.concatenate([*known, [small]]).astype(float)
    axes.set_yscale("log")
    axes.set_ylim(min(0.01, 0.5 * values.min()), 2.0 * values.max())
    axes.set_xlabel(x)
    axes.set_ylabel(with_unit("error", unit))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")


def _draw_pulls(
    axes: Axes,
    curves: Sequence[Curve],
    label: str,
    color: Any,
    style: str,
    *,
    order: int,
    width: float = 1.6,
) -> None:
    curves = [curve for curve in curves if len(curve.y) > 0]
    for curve in curves:
        if len(curves) > 1:
            thin = _thin(len(curve.y))
            axes.plot(
                curve.x[thin], curve.y[thin], style, color=color, alpha=0.3,
                linewidth=0.7, zorder=order - 1,
            )  # fmt: skip
    if curves:
        shared = min(len(curve.y) for curve in curves)
        x = np.mean([curve.x[:shared] for curve in curves], axis=0)
        y = np.mean([curve.y[:shared] for curve in curves], axis=0)
        thin = _thin(shared)
        axes.plot(
            x[thin], y[thin], style, color=color, linewidth=width, zorder=order,
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
