r"""Stress of labels: whether its sign and unit can be right, and what training says about it.

Between two near cells of the same atoms the stress and the forces do the work that the energies
differ by. With the cell vectors as rows of h and fractional positions s,

.. math::
    \Delta E \approx V \bar\sigma : \bar h^{-1} \Delta h - \bar F \cdot (\Delta s \, \bar h)

(bars: means of both cells). What the forces leave of the energy differences is compared with the
work of the stress, as `plausibility` compares energies with the work of the forces.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..errors import AlrareError
from ..frames import label_of, stress_tensor
from ..label_keys import unused_virials
from ..units import GPA
from .dataset import Dataset

Floats = NDArray[np.float64]

_MOST_FRAMES = 200
"""Number of cells, evenly spread, that are judged."""
_FEWEST = 20
"""Fewer pairs say nothing."""
_WORK = (0.05, 20.0)
"""Spread of what the forces leave of the energy differences over that of the work of the stress;
right labels gave 0.5 to 3.4, in GPa 0.005 to 0.02."""
_TOGETHER = 0.6
"""Correlation of both above which they are compared."""
_POOR = 0.5
"""A mean error above this share of the labels' rms stress is named."""

_EXPECTED = (
    "expected ASE's: eV/Å³, positive where the cell would shrink (under tension); many programs"
    " write a pressure or a virial, of the opposite sign, or GPa or kbar"
)
_CURE = (
    f"; {_EXPECTED}: convert the file, give --any-units if it is right, or train without it"
    " (--stress-weight 0)"
)


def check_stress(frames: Sequence[Atoms]) -> None:
    """Refuse stresses that cannot be in eV/Å³ with ASE's sign.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled; those that are no cells or have no stress are not looked at.

    Raises
    ------
    AlrareError
        If all are zero, or do no work that the energies differ by; the message names the likely
        cause. Where the frames say too little about the work, it is not judged.
    """
    if said := doubt(frames):
        raise AlrareError(said)


def doubt(frames: Sequence[Atoms]) -> str:
    """Return why stresses cannot be right, as in `check_stress`; empty if nothing speaks for it."""
    stresses = [stress for frame in frames if (stress := stress_tensor(frame)) is not None]
    if len(stresses) > 1 and not np.any(stresses):
        return (
            f"{len(stresses)} cells: all stresses are zero, so they are no stresses: remove them"
            " from the file, or train without them (--stress-weight 0)"
        )
    ratio = stress_work(frames)
    low, high = _WORK
    if ratio is None or low <= ratio <= high:
        return ""
    if ratio < 0.0:
        cause = "the stress may be a pressure or a virial over the volume, of the opposite sign"
    elif ratio < low:
        cause = "the stress may be in GPa or kbar"
    else:
        cause = "the stress may be in hartree/bohr³"
    return (
        f"{len(stresses)} cells: the energies differ by {ratio:.3g} times the work that the stress"
        f" does: {cause}{_CURE}"
    )


def stress_work(frames: Sequence[Atoms]) -> float | None:
    """Return the ratio of the energy differences, less the work of the forces, to that of stress.

    Each cell is compared with the nearest other one of the same atoms. Negative if both go in
    opposite directions; None unless both go together.
    """
    groups: dict[bytes, list[tuple[Atoms, Floats]]] = {}
    for frame in frames:
        stress = stress_tensor(frame)
        if stress is not None:
            groups.setdefault(frame.numbers.tobytes(), []).append((frame, stress))
    differences, works = [], []
    for group in groups.values():
        rows = np.unique(np.linspace(0, len(group) - 1, _MOST_FRAMES, dtype=int))
        found = _differences([group[row] for row in rows]) if len(rows) > 1 else ([], [])
        differences += found[0]
        works += found[1]
    if len(works) < _FEWEST or np.ptp(works) == 0.0 or np.ptp(differences) == 0.0:
        return None
    together = float(np.corrcoef(differences, works)[0, 1])
    if abs(together) < _TOGETHER:
        return None
    return float(np.copysign(np.std(differences) / np.std(works), together))


def _differences(group: Sequence[tuple[Atoms, Floats]]) -> tuple[list[float], list[float]]:
    """Return of each cell and the nearest other one: energy less work of forces; work of stress."""
    cells = np.array([frame.cell.array for frame, _ in group])
    scaled = np.array([frame.get_scaled_positions(wrap=False) for frame, _ in group])
    labels = [label_of(frame) for frame, _ in group]
    strains = np.array([frame.get_volume() * stress for frame, stress in group])  # eV
    differences, works = [], []
    for row in range(len(group)):
        shifts = scaled - scaled[row]
        shifts -= np.rint(shifts)
        shifts -= shifts.mean(axis=1, keepdims=True)
        mean_cells = 0.5 * (cells + cells[row])
        moved = shifts @ mean_cells
        strained = np.linalg.solve(mean_cells, cells - cells[row])
        far = (moved**2).sum(axis=(1, 2)) + len(moved[0]) * (strained**2).sum(axis=(1, 2))
        far[row] = np.inf
        other = int(np.argmin(far))
        forces = 0.5 * (labels[row][1] + labels[other][1])
        by_forces = -float((forces * moved[other]).sum())
        differences.append(labels[other][0] - labels[row][0] - by_forces)
        works.append(float((0.5 * (strains[row] + strains[other]) * strained[other]).sum()))
    return differences, works


def on_stress(dataset: Dataset, frames: Sequence[Atoms], weight: float) -> list[str]:
    """Return what there is to say before training: which stress is used, and which is not.

    A campaign is not stopped by stresses that cannot be right, as `alrare train` is, but warned.

    Parameters
    ----------
    dataset : Dataset
        As it is trained on.
    frames : sequence of Atoms
        Its configurations.
    weight : float
        `[train] stress_weight`.
    """
    said = []
    given = sum("stress" in getattr(frame.calc, "results", {}) for frame in frames)
    used = sum(strain is not None for strain in dataset.strain_derivatives)
    if used:
        said.append(
            f"stress of {used} of {len(frames)} configurations, rms {rms_stress(dataset):.3g} GPa,"
            f" is trained on (stress_weight = {weight:g})"
        )
        if found := doubt(frames):
            said.append(f"Warning: {found}")
    if weight > 0.0 and given > used:
        said.append(
            f"the stress of {given - used} configurations is not used: they are not periodic in"
            " three directions"
        )
    virials = unused_virials(frames) if weight > 0.0 else ""
    return [*said, virials] if virials else said


def stress_result(dataset: Dataset, metrics: Sequence[Mapping[str, Any]]) -> str:
    """Return the errors of the stress as a sentence, with a warning if they are large.

    Parameters
    ----------
    dataset : Dataset
        With stress.
    metrics : sequence of mappings
        Of all members, as in training.json.
    """

    def mean(part: str) -> float | None:
        errors = [entry[part]["stress_mae"] for entry in metrics if "stress_mae" in entry[part]]
        return float(np.mean(errors)) / GPA if errors else None

    error, unseen, rms = mean("all"), mean("validation"), rms_stress(dataset)
    text = f"stress: MAE {error:.3g} GPa, labels' rms {rms:.3g} GPa"
    if unseen is not None:
        text += f"; on validation data {unseen:.3g} GPa"
    if error is not None and error > _POOR * rms:
        text += (
            f". Warning: the error is above half of the labels' stress, whose sign or unit may be"
            f" wrong ({_EXPECTED}); --stress-weight 0 trains without it"
        )
    return text


def rms_stress(dataset: Dataset) -> float:
    """Return the root mean square of the components of the stresses of a data set, GPa."""
    stresses = [
        strain / volume
        for strain, volume in zip(dataset.strain_derivatives, dataset.volumes, strict=True)
        if strain is not None
    ]
    return float(np.sqrt(np.mean(np.square(stresses)))) / GPA
