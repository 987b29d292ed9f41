"""The data set of a training: labels as arrays, and the split into training and validation."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from ..electronic_state import ElectronicState, state_of
from ..errors import AlrareError
from ..frames import check_labels, frame_key, is_isolated_atom, label_of, place_of, stress_tensor

Array = npt.NDArray[np.float64]
RIDGE = 1e-6
"""Weight that pulls the self energies to the isolated atoms; no unit (both terms are per atom)."""
DUPLICATE_TOLERANCE = 1e-5
"""eV; two energies of one configuration that differ by more than this are an error."""


@dataclass(frozen=True)
class Split:
    """Roles of the configurations of a data set for one member, as row numbers.

    Both tuples are sorted, and every row is in exactly one of them.
    """

    train: tuple[int, ...]
    """Rows that the member is trained on."""
    validation: tuple[int, ...]
    """Rows that decide which epoch's weights are kept."""

    def __len__(self) -> int:
        """Count the configurations."""
        return len(self.train) + len(self.validation)

    def to_dict(self) -> dict[str, list[int]]:
        """JSON form."""
        return {"train": list(self.train), "validation": list(self.validation)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Split":
        """Read the form that `to_dict` writes."""
        return cls(tuple(content["train"]), tuple(content["validation"]))


def random_split(
    n: int, *, train_fraction: float, rng: np.random.Generator, fixed: int = 0
) -> Split:
    """Distribute n configurations at random.

    Parameters
    ----------
    n : int
        Number of configurations; at least ``fixed + 2``.
    train_fraction : float
        Share that trains; both parts get at least one.
    rng : numpy Generator
    fixed : int
        The first `fixed` rows always train; `train_fraction` is the share of the others.

    Raises
    ------
    AlrareError
        If n is too small.
    """
    free = n - fixed
    if free < 2:
        raise AlrareError(
            "a data set needs at least 2 labelled configurations (one trains, one validates),"
            f" got {free}"
        )
    order = fixed + rng.permutation(free)
    n_train = min(max(round(train_fraction * free), 1), free - 1)
    return Split((*range(fixed), *_sorted(order[:n_train])), _sorted(order[n_train:]))


def inherited_split(
    old: Split, n: int, *, train_fraction: float, rng: np.random.Generator
) -> Split:
    """Keep the role of every old configuration and distribute the new ones (paper, §2.3.6).

    Parameters
    ----------
    old : Split
        Of the previous iteration's best member, rows 0 … len(old) - 1.
    n : int
        Configurations now; rows from len(old) on are new.
    train_fraction : float
        Share of the new configurations that trains.
    rng : numpy Generator

    Raises
    ------
    AlrareError
        If the data set shrank.
    """
    if n < len(old):
        raise AlrareError(
            f"the previous split holds {len(old)} configurations, the data set only {n};"
            " configurations may be added, never removed"
        )
    new = len(old) + rng.permutation(n - len(old))
    n_train = round(train_fraction * len(new))
    return Split(
        tuple(sorted({*old.train, *_sorted(new[:n_train])})),
        tuple(sorted({*old.validation, *_sorted(new[n_train:])})),
    )


@dataclass(frozen=True)
class Dataset:
    """Checked labels of C configurations."""

    elements: tuple[str, ...]
    """By atomic number."""
    self_energies: Array
    """(S,), eV: one per element."""
    energies: Array
    """(C,), eV, with the self energies subtracted."""
    forces: list[Array]
    """C arrays (n, 3), eV/Å."""
    strain_derivatives: list[Array | None]
    """C arrays (3, 3), eV: stress times volume; None where there is no stress."""
    volumes: Array
    """(C,), Å³; 0 where there is no stress."""

    @property
    def n_atoms(self) -> npt.NDArray[np.int64]:
        """(C,) array: atoms of each configuration."""
        return np.array([len(forces) for forces in self.forces], dtype=np.int64)

    @property
    def has_stress(self) -> bool:
        """Whether a configuration has a stress."""
        return any(strain is not None for strain in self.strain_derivatives)

    def without_stress(self) -> "Dataset":
        """Return the same configurations without stress."""
        n = len(self.forces)
        return replace(self, strain_derivatives=[None] * n, volumes=np.zeros(n))


def check_one_state(frames: Sequence[Atoms]) -> None:
    """Refuse frames of one composition in two electronic states.

    A model sees elements and positions only, so it cannot tell them apart.

    Raises
    ------
    AlrareError
        The message names two such frames.
    """
    first: dict[str, tuple[ElectronicState, int]] = {}
    for row, atoms in enumerate(frames):
        state = state_of(atoms)
        known, other = first.setdefault(atoms.get_chemical_formula(), (state, row))
        if state != known:
            raise AlrareError(
                f"{place_of(frames[other], other + 1)} has {known}, but {place_of(atoms, row + 1)}"
                f" has {state}: a model of positions cannot tell them apart; train one model for"
                " each"
            )


def distinct_frames(frames: Sequence[Atoms]) -> list[Atoms]:
    """Return every configuration once, in the order in which it first occurs.

    A configuration that occurred twice could train and validate at the same time.

    Raises
    ------
    AlrareError
        If two frames are the same configuration with different energies (by more than 1e-5 eV).
    """
    first: dict[str, int] = {}
    for number, atoms in enumerate(frames):
        key = frame_key(atoms, "")
        earlier = first.setdefault(key, number)
        difference = label_of(atoms)[0] - label_of(frames[earlier])[0]
        if abs(difference) > DUPLICATE_TOLERANCE:
            raise AlrareError(
                f"{place_of(atoms, number + 1)} is the same configuration as"
                f" {place_of(frames[earlier], earlier + 1)}, but their energies differ by"
                f" {difference:.6g} eV; keep the one of the method you want"
            )
    return [frames[number] for number in first.values()]


def split_off_isolated_atoms(
    frames: Sequence[Atoms],
) -> tuple[list[Atoms], dict[str, float]]:
    """Separate isolated atoms, which give their energies, from the rest.

    Returns
    -------
    list of Atoms
        All other frames.
    dict from str to float
        Energy of the isolated atom by element, eV.

    Raises
    ------
    AlrareError
        If an element has two different isolated-atom energies.
    """
    energies: dict[str, float] = {}
    others = []
    for atoms in frames:
        if not is_isolated_atom(atoms):
            others.append(atoms)
            continue
        element, energy = atoms.get_chemical_symbols()[0], label_of(atoms)[0]
        if abs(energies.setdefault(element, energy) - energy) > DUPLICATE_TOLERANCE:
            raise AlrareError(
                f"isolated {element} atoms with energies {energies[element]:.6g} and {energy:.6g}"
                " eV; keep the one of the method you want"
            )
    return others, energies


def make_dataset(
    frames: Sequence[Atoms], *, isolated: Mapping[str, float] | None = None
) -> Dataset:
    """Check labelled frames and subtract the self energies from their energies.

    Parameters
    ----------
    frames : sequence of Atoms
        At least 2.
    isolated : mapping from element to eV, optional
        Energies of isolated atoms by the same method, for every element of the frames.

    Raises
    ------
    AlrareError
        If there are fewer than 2 frames, the label of a frame is missing or not finite (the message
        names the frame), or an isolated-atom energy is missing.
    """
    if len(frames) < 2:
        raise AlrareError(f"training needs at least 2 labelled frames, got {len(frames)}")
    check_labels(frames)
    check_one_state(frames)
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    elements = tuple(chemical_symbols[z] for z in numbers)
    labels = [label_of(atoms) for atoms in frames]
    stresses = [(stress_tensor(atoms), atoms) for atoms in frames]
    energies = np.array([energy for energy, _ in labels])
    composition = np.array([[np.sum(atoms.numbers == z) for z in numbers] for atoms in frames])
    self_energies = fit_self_energies(
        composition, energies, isolated=_in_order(isolated, elements) if isolated else None
    )
    return Dataset(
        elements=elements,
        self_energies=self_energies,
        energies=energies - composition @ self_energies,
        forces=[forces for _, forces in labels],
        strain_derivatives=[None if s is None else s * a.get_volume() for s, a in stresses],
        volumes=np.array([0.0 if s is None else a.get_volume() for s, a in stresses]),
    )


def _in_order(isolated: Mapping[str, float], elements: Sequence[str]) -> Array:
    missing = [element for element in elements if element not in isolated]
    if missing:
        raise AlrareError(
            f"isolated-atom energies: expected one for each of {', '.join(elements)}, got none for"
            f" {', '.join(missing)}; label that atom alone, or give none at all"
        )
    return np.array([isolated[element] for element in elements])


def fit_self_energies(
    composition: npt.NDArray[np.int64], energies: Array, *, isolated: Array | None = None
) -> Array:
    r"""Fit the self energy of each element to the data.

    With isolated-atom energies :math:`e^0` the self energies are

    .. math::
        \arg\min_e \tfrac1C \sum_c \left(\frac{E_c - \sum_s N_{cs} e_s}{N_c}\right)^2
        + \lambda \sum_s (e_s - e^0_s)^2

    with the ridge :math:`\lambda` = `RIDGE`. The fit follows the data where they determine the self
    energies. Data of one stoichiometry determine only one number; the ridge then shares the binding
    energy among the elements in proportion to the composition and adds it to the isolated-atom
    energies. So the model of one molecule can be used for another of the same elements. Without
    isolated-atom energies this is plain least squares, with the smallest norm where the data leave
    a choice.

    Parameters
    ----------
    composition : (C, S) array
        Atoms of each element in each configuration.
    energies : (C,) array, eV
    isolated : (S,) array, eV, optional

    Returns
    -------
    (S,) array, eV
    """
    counts = composition.astype(float)
    if isolated is None:
        plain: Array = np.linalg.lstsq(counts, energies, rcond=1e-10)[0]
        return plain
    scale = 1.0 / (counts.sum(1) * np.sqrt(len(counts)))
    ridge = np.sqrt(RIDGE) * np.eye(counts.shape[1])
    matrix = np.concatenate((counts * scale[:, None], ridge))
    right = np.concatenate(((energies - counts @ isolated) * scale, np.zeros(len(isolated))))
    solution: Array = np.linalg.lstsq(matrix, right, rcond=None)[0]
    return isolated + solution


def fit_shifts(composition: npt.NDArray[np.int64], differences: Array) -> Array:
    """Fit one constant per element to differences between the energies of two methods.

    Each composition counts with the median of its differences, so that a few configurations on
    which the methods disagree, or which one of them never saw, move nothing.

    Parameters
    ----------
    composition : (C, S) array
        Atoms of each element in each configuration.
    differences : (C,) array, eV

    Returns
    -------
    (S,) array, eV
        Of the smallest norm, where the compositions leave a choice.
    """
    shared, which = np.unique(composition, axis=0, return_inverse=True)
    middle = np.array([np.median(differences[which == k]) for k in range(len(shared))])
    return fit_self_energies(composition, middle[which])


def dataset_hash(keys: Sequence[str], dataset: Dataset) -> str:
    """Return a hash of a data set: its configurations and labels, in order.

    Parameters
    ----------
    keys : sequence of str
        Keys of the configurations (`DescriptorCache.key`).
    dataset : Dataset
    """
    digest = hashlib.sha256("".join(keys).encode())
    digest.update(dataset.energies.tobytes() + dataset.self_energies.tobytes())
    for forces in dataset.forces:
        digest.update(np.ascontiguousarray(forces).tobytes())
    for row, strain in enumerate(dataset.strain_derivatives):
        if strain is not None:
            digest.update(f"stress {row}".encode() + np.ascontiguousarray(strain).tobytes())
    return digest.hexdigest()


def _sorted(rows: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(sorted(int(row) for row in rows))
