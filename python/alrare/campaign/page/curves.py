"""The curves of the page: one per run of the labeller and of the models."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import AlrareError
from ...exploration.table import read_table

POINTS = 50_000
"""Largest number of points of all curves of a page."""
POINTS_OF_RUN = 600
"""Largest number of points of a curve."""


def work_curves(
    run: Path, subfolder: str, results: Mapping[str, Any], *, points: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the curve of each run of a system.

    Parameters
    ----------
    run : Path
        The run folder.
    subfolder : str
        Folder of the system in those of the reference and the iterations.
    results : mapping
        `of_system`.
    points : int
        Largest number of points of a curve.

    Returns
    -------
    list of dict
        ``iteration`` (None: by the labeller), ``seed``, ``step``, ``x``, ``y``, and ``peak``, the
        row that decides the observable (None without one).
    list of str
        What could not be read, and why.
    """
    observable = results["observable"]
    peaks = _peaks(results)
    curves, missing = [], []
    for number, seed, folder in run_folders(run, subfolder, observable["runs"]):
        try:
            table = read_table(folder / observable["table"])
            x, y = table[observable["x"][0]], table[observable["y"][0]]
        except AlrareError as error:
            missing.append(str(error).replace(f"{run}/", ""))
            continue
        except KeyError as error:
            name = folder.relative_to(run) / observable["table"]
            missing.append(f"{name}: has no column {error}")
            continue
        steps = table["step"]
        peak = peaks.get((number, seed))
        at = None if peak is None else int(np.argmin(np.abs(steps - peak)))
        kept = _thin(len(x), points, at)
        curves.append(
            {
                "iteration": number,
                "seed": seed,
                "step": steps[kept].astype(int).tolist(),
                "x": short(x[kept]),
                "y": short(y[kept]),
                "peak": None if at is None else int(np.searchsorted(kept, at)),
            }
        )
    return curves, missing


def run_folders(run: Path, subfolder: str, runs: str) -> Iterator[tuple[int | None, int, Path]]:
    """Yield iteration (None: the labeller), seed and folder of each run without a bias."""
    homes: list[tuple[int | None, Path]] = [(None, run / "reference" / subfolder)]
    for folder in sorted(run.glob("iter_[0-9]*")):
        number = folder.name.removeprefix("iter_")
        if number.isdigit():
            homes.append((int(number), folder / subfolder))
    for iteration, home in homes:
        seeds = [path.name.removeprefix(f"{runs}_") for path in home.glob(f"{runs}_*")]
        for seed in sorted(int(word) for word in seeds if word.isdigit()):
            yield iteration, seed, home / f"{runs}_{seed}"


def _peaks(results: Mapping[str, Any]) -> dict[tuple[int | None, int], int]:
    """Return the MD step that decides the observable, by iteration and seed, where it has one."""
    key = results["observable"]["key"]
    found: dict[tuple[int | None, int], int] = {}
    for row in results["iterations"]:
        for pull in row.get("runs") or []:
            for number, one in ((row["iteration"], pull["model"]), (None, pull.get("reference"))):
                if one and one.get(key) is not None and one.get("peak_step") is not None:
                    found[number, pull["seed"]] = one["peak_step"]
    return found


def _thin(n: int, points: int, keep: int | None) -> NDArray[np.intp]:
    rows = np.linspace(0, n - 1, min(n, points)).astype(np.intp)
    return np.unique(rows if keep is None else np.append(rows, keep))


def short(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers with five digits, None for what is no number."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]
