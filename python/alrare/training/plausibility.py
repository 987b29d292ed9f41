"""Whether labels of unknown origin can be energies in eV and forces in eV/Å at positions in Å.

Files from elsewhere come in hartree, kcal/mol, bohr or nm, or with gradients instead of forces, and
a network is trained on them without complaint. Physics leaves room for none of these mistakes:

* Atoms are bonded at about the sum of their covalent radii, or touch at twice that.
* A bond of hydrogen to a nonmetal resists stretching with 15 to 60 eV/Å²; in other units of force
  or length the slope is at least a factor of 10 away, and for gradients it is negative.
* Along the straight line between two near configurations the forces do the work that the energies
  differ by; the trapezoidal rule is exact for harmonic vibrations. Where the frames are so near
  that both agree but for a factor (correlation above 0.97), right labels of molecules gave factors
  from 0.80 to 1.06, and a single wrong unit of length (1.89) shows.
* An atom binds with less than 20 eV.

Each limit is far from what any molecule or crystal has, and is judged only where the frames say
enough about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from ..errors import AlrareError
from ..frames import frame_key, label_of, place_of

Floats = NDArray[np.float64]

_MOST_FRAMES = 200
"""Number of frames, evenly spread, that are judged; all are searched for large forces."""
_MOST_ATOMS = 500
"""Larger frames are not searched for bonds."""
_FEWEST = 20
"""Fewer samples say nothing."""
_LARGEST_FORCE = 1e3
"""eV/Å; beyond a repulsion of two atoms at 0.4 Å."""
_BONDED, _TOO_NEAR = 1.4, 0.35
"""Distance in units of the sum of both covalent radii."""
_STIFFNESS = (4.0, 200.0)
"""eV/Å², of a bond of hydrogen to a nonmetal."""
_WORK, _WORK_OF_NEAR = (0.2, 5.0), (0.7, 1.4)
"""Spread of the energy differences divided by that of the work of the forces; of near frames."""
_TOGETHER, _NEAR = 0.6, 0.97
"""Correlation of both, above which they are compared, and above which the frames are near."""
_BINDING = (-20.0, 10.0)
"""eV per atom: energy minus those of the isolated atoms."""
_NONMETALS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)
_NOBLE = (2, 10, 18, 36, 54)

_CURE = (
    "; expected energies in eV, forces (minus the gradient) in eV/Å and positions in Å: convert the"
    " file, or give --any-units if it is right"
)


@dataclass(frozen=True)
class Magnitudes:
    """Sizes of the labels of a data set; None where the frames say too little."""

    energy_range: float
    """Largest difference of the energies per atom of frames of one composition, eV."""
    force_rms: float
    """Of the components, eV/Å."""
    shortest: float | None
    """Shortest distance of two atoms, Å."""
    bonded: float | None
    """Smallest distance of two atoms, in units of the sum of their covalent radii."""
    stiffness: float | None
    """Slope of the force along bonds of hydrogen to nonmetals, eV/Å²."""
    work: float | None
    """Ratio of the energy differences of near frames and the work of the forces between them."""
    work_correlation: float | None
    """Correlation of both; near 1 for very near frames."""

    def sentence(self) -> str:
        """Return the sizes as one line for a person."""
        parts = [
            f"energies within {self.energy_range * 1000:.3g} meV per atom",
            f"rms force {self.force_rms:.3g} eV/Å",
        ]
        if self.shortest is not None:
            parts.append(f"shortest distance {self.shortest:.3g} Å")
        if self.stiffness is not None:
            parts.append(f"X-H bonds of {self.stiffness:.3g} eV/Å²")
        return ", ".join(parts)


def magnitudes(frames: Sequence[Atoms]) -> Magnitudes:
    """Measure the sizes of energies, forces and distances of labelled frames.

    Parameters
    ----------
    frames : sequence of Atoms
        At least 1, each labelled.
    """
    some = [
        frames[row] for row in np.unique(np.linspace(0, len(frames) - 1, _MOST_FRAMES, dtype=int))
    ]
    small = [frame for frame in some if 1 < len(frame) <= _MOST_ATOMS]
    per_atom: dict[str, list[float]] = {}
    for frame in frames:
        per_atom.setdefault(frame.get_chemical_formula(), []).append(
            label_of(frame)[0] / len(frame)
        )
    pairs = [_distances(frame) for frame in small]
    work, together = _work(small)
    return Magnitudes(
        energy_range=max(float(np.ptp(values)) for values in per_atom.values()),
        force_rms=float(
            np.sqrt(np.mean(np.concatenate([label_of(f)[1].ravel() for f in frames]) ** 2))
        ),
        shortest=min((float(d.min()) for d, _ in pairs), default=None),
        bonded=min((float(ratio.min()) for _, ratio in pairs), default=None),
        stiffness=_stiffness(small, pairs),
        work=work,
        work_correlation=together,
    )


def check_plausible(
    frames: Sequence[Atoms], *, isolated: Mapping[str, float] | None = None
) -> Magnitudes:
    """Refuse labels that cannot be in eV and Å; return their sizes.

    Parameters
    ----------
    frames : sequence of Atoms
        Labelled, without isolated atoms.
    isolated : mapping from element to eV, optional
        Energies of isolated atoms.

    Raises
    ------
    AlrareError
        If something is impossible; the message says what and names the likely cause.
    """
    for number, frame in enumerate(frames, start=1):
        largest = float(np.abs(label_of(frame)[1]).max(initial=0.0))
        if largest > _LARGEST_FORCE:
            raise AlrareError(
                f"{place_of(frame, number)}: a force of {largest:.3g} eV/Å is impossible; remove"
                f" the frame{_CURE}"
            )
    sizes = magnitudes(frames)
    name = f"{len(frames)} frames"
    several = len({frame_key(frame, "") for frame in frames}) > 1  # not a minimum alone
    if several and sizes.force_rms == 0.0:
        raise AlrareError(f"{name}: all forces are zero, so they are no forces{_CURE}")
    formulas = [frame.get_chemical_formula() for frame in frames]
    if several and sizes.energy_range == 0.0 and len(set(formulas)) < len(formulas):
        raise AlrareError(
            f"{name}: all energies of one composition are equal, so they are no energies{_CURE}"
        )
    all_noble = all(z in _NOBLE for frame in frames for z in frame.numbers)
    if sizes.bonded is not None and sizes.bonded < _TOO_NEAR:
        raise AlrareError(
            f"{name}: two atoms are {sizes.shortest:.3g} Å apart, so the positions may be in nm"
            f"{_CURE}"
        )
    if sizes.bonded is not None and sizes.bonded > _BONDED and not all_noble:
        raise AlrareError(
            f"{name}: no two atoms are nearer than {sizes.shortest:.3g} Å, {sizes.bonded:.2g} times"
            f" the length of a bond, so the positions may be in bohr{_CURE}"
        )
    _check_stiffness(sizes.stiffness, name)
    _check_work(sizes, name)
    if isolated:
        _check_binding(frames, isolated, name)
    return sizes


def _check_stiffness(stiffness: float | None, name: str) -> None:
    low, high = _STIFFNESS
    if stiffness is None or low <= stiffness <= high:
        return
    if stiffness <= -low:
        cause = "the forces may be gradients, of the opposite sign"
    elif stiffness < low:
        cause = "the forces may be in hartree/bohr or hartree/Å"
    else:
        cause = "the forces may be in kcal/mol/Å or kJ/mol/Å"
    raise AlrareError(
        f"{name}: bonds of hydrogen have a force constant of {stiffness:.3g} eV/Å², where every"
        f" molecule has 15 to 60: {cause}{_CURE}"
    )


def _check_work(sizes: Magnitudes, name: str) -> None:
    work, near = sizes.work, abs(sizes.work_correlation or 0.0) > _NEAR
    low, high = _WORK_OF_NEAR if near else _WORK
    if work is None or low <= work <= high:
        return
    if work < 0:
        cause = "the forces may be gradients, of the opposite sign"
    elif work < _WORK[0]:
        cause = "the energies may be in hartree"
    elif work < low:
        cause = (
            "the forces may have been multiplied by 1.89, the number of bohr in Å, once too often"
        )
    elif work < _WORK[1]:
        cause = "the forces may be in eV/bohr"
    else:
        cause = "the energies may be in kcal/mol, or the forces in hartree/bohr"
    raise AlrareError(
        f"{name}: the energies differ by {work:.3g} times the work that the forces do: {cause}"
        f"{_CURE}"
    )


def _check_binding(frames: Sequence[Atoms], isolated: Mapping[str, float], name: str) -> None:
    low, high = _BINDING
    known = [f for f in frames if set(f.get_chemical_symbols()) <= isolated.keys()]
    if not known:
        return
    energies = [
        (label_of(f)[0] - sum(isolated[s] for s in f.get_chemical_symbols())) / len(f)
        for f in known
    ]
    binding = float(np.median(energies))
    if not low <= binding <= high:
        raise AlrareError(
            f"{name}: their energy is {binding:.3g} eV per atom above the isolated atoms', where"
            f" {low:g} to {high:g} is possible: the energies may be in kcal/mol or kJ/mol, or the"
            f" isolated atoms in other units or of another method{_CURE}"
        )


def _distances(frame: Atoms) -> tuple[Floats, Floats]:
    """Return distances (N, N), Å, and the same in units of the sum of the covalent radii."""
    distances = frame.get_all_distances(mic=bool(frame.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[frame.numbers]
    return distances, distances / (radii[:, None] + radii[None, :])


def _stiffness(frames: Sequence[Atoms], pairs: Sequence[tuple[Floats, Floats]]) -> float | None:
    """Return the slope of the force on hydrogen along its bond, eV/Å², median over the partners.

    `pairs` holds the distances of each frame (`_distances`). Bonds within 0.1 Å of the median of
    their kind count, so that broken ones do not.
    """
    samples: dict[str, list[tuple[float, float]]] = {}
    for frame, (distances, ratio) in zip(frames, pairs, strict=True):
        forces = label_of(frame)[1]
        for h in np.flatnonzero(frame.numbers == 1):
            partner = int(np.argmin(distances[h]))
            if frame.numbers[partner] not in _NONMETALS or ratio[h, partner] > _BONDED:
                continue
            bond = frame.get_distance(partner, h, mic=bool(frame.pbc.any()), vector=True)
            length = distances[h, partner]
            samples.setdefault(chemical_symbols[frame.numbers[partner]], []).append(
                (length, float(forces[h] @ bond) / length)
            )
    slopes = []
    for of_kind in samples.values():
        lengths, along = np.array(of_kind).T
        near = np.abs(lengths - np.median(lengths)) < 0.1
        lengths, along = lengths[near], along[near]
        if len(lengths) < _FEWEST or np.ptp(lengths) < 1e-3 or np.ptp(along) == 0.0:
            continue
        if abs(np.corrcoef(lengths, along)[0, 1]) > 0.6:
            slopes.append(-float(np.polyfit(lengths, along, 1)[0]))
    return float(np.median(slopes)) if slopes else None


def _work(frames: Sequence[Atoms]) -> tuple[float | None, float | None]:
    """Return the spread of energy differences over the work between near frames, and r.

    Each frame is compared with the nearest other one of the same atoms, after both are laid upon
    each other; None unless energies and work go together.
    """
    groups: dict[bytes, list[Atoms]] = {}
    for frame in frames:
        if not frame.pbc.any():
            groups.setdefault(frame.numbers.tobytes(), []).append(frame)
    differences, works = [], []
    for group in groups.values():
        positions = np.array([frame.positions - frame.positions.mean(0) for frame in group])
        labels = [label_of(frame) for frame in group]
        for row in range(len(group) if len(group) > 1 else 0):
            turns = _turns(positions[row], positions)
            moved = positions @ turns
            apart = ((moved - positions[row]) ** 2).sum(axis=(1, 2))
            apart[row] = np.inf
            other = int(np.argmin(apart))
            mean_force = 0.5 * (labels[row][1] + labels[other][1] @ turns[other])
            works.append(-float((mean_force * (moved[other] - positions[row])).sum()))
            differences.append(labels[other][0] - labels[row][0])
    if len(works) < _FEWEST or np.ptp(works) == 0.0 or np.ptp(differences) == 0.0:
        return None, None
    together = float(np.corrcoef(differences, works)[0, 1])
    if abs(together) < _TOGETHER:
        return None, together
    return float(np.copysign(np.std(differences) / np.std(works), together)), together


def _turns(target: Floats, positions: Floats) -> Floats:
    """Return the rotations (C, 3, 3) that lay each of C configurations upon `target` (Kabsch)."""
    left, _, right = np.linalg.svd(positions.transpose(0, 2, 1) @ target)
    handed = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= handed[:, None]
    turns: Floats = left @ right
    return turns
