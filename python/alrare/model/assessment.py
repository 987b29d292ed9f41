"""Errors of a model in detail: by atom, element and kind of frame, and as figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..figures import figure_style
from ..files import atomic_path
from ..frames import label_of
from .accuracy import Comparison, without_offsets

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Mean absolute and root mean square error of n values."""

    n: int
    """Energies, or components of forces or stress."""
    mae: float
    """eV, eV/Å or eV/Å³."""
    rmse: float
    """The same."""


@dataclass(frozen=True)
class Assessment:
    """Errors of the driving potential; energies as in `accuracy.FrameErrors`, and as they are."""

    relative_energy: Errors | None
    """After the mean error of each composition is subtracted; None if each occurs once."""
    relative_energy_per_atom: Errors | None
    """The same divided by the number of atoms."""
    energy: Errors
    """Nothing subtracted."""
    force: Errors
    """Of the components."""
    force_cosine: float | None
    """Mean cosine of the angle between predicted force and label, over the atoms whose forces are
    not zero; None if all are."""
    stress: Errors | None
    """Of the nine components of the stress, eV/Å³; None if no frame has one."""
    by_element: dict[str, Errors]
    """Of the force components, by element."""
    by_config_type: dict[str, tuple[Errors, Errors]]
    """Of energies as they are and force components, by the frames' `config_type`."""


def assess(comparison: Comparison, frames: Sequence[Atoms]) -> Assessment:
    """Summarize a comparison.

    Parameters
    ----------
    comparison : Comparison
        Of at least one frame.
    frames : sequence of Atoms
        The frames compared, with their labels.
    """
    relative, _, counted = comparison.relative_energies()
    n_atoms = np.array([len(frame) for frame in frames])
    errors = np.concatenate(comparison.forces)
    labels = np.concatenate([label_of(frame)[1] for frame in frames])
    symbols = np.concatenate([frame.get_chemical_symbols() for frame in frames])
    kinds = [str(frame.info.get("config_type", "")) for frame in frames]
    by_kind = {}
    for kind in sorted(set(kinds)) if set(kinds) != {""} else []:
        rows = [row for row, other in enumerate(kinds) if other == kind]
        forces = np.concatenate([comparison.forces[row] for row in rows])
        by_kind[kind] = (_errors(comparison.energy[rows]), _errors(forces))
    stresses = [stress for stress in comparison.stress if stress is not None]
    return Assessment(
        relative_energy=_errors(relative[counted]) if counted.any() else None,
        relative_energy_per_atom=_errors((relative / n_atoms)[counted]) if counted.any() else None,
        energy=_errors(comparison.energy),
        force=_errors(errors),
        force_cosine=_cosine(labels + errors, labels),
        stress=_errors(np.array(stresses)) if stresses else None,
        by_element={
            str(symbol): _errors(errors[symbols == symbol]) for symbol in sorted(set(symbols))
        },
        by_config_type=by_kind,
    )


def _errors(values: Floats) -> Errors:
    return Errors(
        values.size, float(np.abs(values).mean()), float(np.sqrt(np.square(values).mean()))
    )


def _cosine(predicted: Floats, labels: Floats) -> float | None:
    lengths = np.linalg.norm(predicted, axis=1) * np.linalg.norm(labels, axis=1)
    rows = lengths > 0.0
    if not rows.any():
        return None
    return float(((predicted * labels).sum(axis=1)[rows] / lengths[rows]).mean())


def plot_assessment(path: Path, comparison: Comparison, frames: Sequence[Atoms]) -> None:
    """Draw energies and forces against the labels, and errors against energy_std, as a PNG.

    Energies are per atom, both above the mean of the labels of their composition, with the offset
    of the composition subtracted.
    """
    from matplotlib.figure import Figure

    relative, _, _ = comparison.relative_energies()
    n_atoms = np.array([len(frame) for frame in frames])
    given = np.array([label_of(frame)[0] for frame in frames])
    energies, _ = without_offsets(given, comparison.formulas)
    labels = np.concatenate([label_of(frame)[1] for frame in frames]).ravel()
    forces = labels + np.concatenate(comparison.forces).ravel()
    with figure_style({"font.size": 9.0}):
        figure = Figure(figsize=(9.6, 3.2), layout="constrained")
        energy, force, spread = figure.subplots(1, 3)
        for axes, x, y, name in (
            (energy, 1e3 * energies / n_atoms, 1e3 * (energies + relative) / n_atoms, "meV/atom"),
            (force, labels, forces, "eV/Å"),
        ):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes.plot(ends, ends, color="0.7", linewidth=0.8)
            axes.plot(x, y, ".", color="#1f5aa6", markersize=2.0, rasterized=True)
            axes.set_xlabel(f"label ({name})")
            axes.set_ylabel(f"model ({name})")
        energy.set_title("relative energy")
        force.set_title("force components")
        shown = (comparison.energy_std > 0.0) & (np.abs(relative) > 0.0)
        if shown.any():
            x, y = 1e3 * comparison.energy_std[shown], 1e3 * np.abs(relative[shown])
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            spread.loglog(ends, ends, color="0.7", linewidth=0.8)
            spread.loglog(x, y, ".", color="#1f5aa6", markersize=3.0, rasterized=True)
        spread.set_title("error and spread")
        spread.set_xlabel("energy_std (meV)")
        spread.set_ylabel("error of the relative energy (meV)")
        for axes in (energy, force, spread):
            axes.spines[["top", "right"]].set_visible(False)
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", dpi=160, metadata={"Software": None})
