"""Labelled configurations as numbers, and which of them train and which validate."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import chemical_symbols

from .errors import AlrareError
from .frames import is_labelled, label_of

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Roles of the configurations of a data set for one member, as row numbers.

    Attributes
    ----------
    train, validation : tuples of int
        Sorted; every row is in one of them.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]

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


def random_split(n: int, *, train_fraction: float, rng: np.random.Generator) -> Split:
    """Distribute n configurations at random.

    Parameters
    ----------
    n : int
        At least 2.
    train_fraction : float
        Share that trains; both parts get at least one.
    rng : numpy Generator

    Raises
    ------
    AlrareError
        If n < 2.
    """
    if n < 2:
        raise AlrareError(
            "a data set needs at least 2 labelled configurations (one trains, one validates),"
            f" got {n}"
        )
    order = rng.permutation(n)
    n_train = min(max(round(train_fraction * n), 1), n - 1)
    return Split(_sorted(order[:n_train]), _sorted(order[n_train:]))


def inherited_split(
    old: Split, n: int, *, train_fraction: float, rng: np.random.Generator
) -> Split:
    """Keep every old role for good and distribute the new configurations (paper, §2.3.6).

    Parameters
    ----------
    old : Split
        Of the previous iteration's best member, rows 0 … len(old) - 1.
    n : int
        Configurations now; rows from len(old) on are new.
    train_fraction : float
        Share of the new ones that trains.
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
    """Labels of C configurations, checked, in the units and order of a model.

    Attributes
    ----------
    elements : tuple of str
        By atomic number.
    self_energies : (S,) array, eV
    energies : (C,) array, eV
        Self energies subtracted.
    forces : list of C (n, 3) arrays, eV/Å
    """

    elements: tuple[str, ...]
    self_energies: Array
    energies: Array
    forces: list[Array]

    @property
    def n_atoms(self) -> npt.NDArray[np.int64]:
        """(C,) array: atoms of each configuration."""
        return np.array([len(forces) for forces in self.forces], dtype=np.int64)


def make_dataset(frames: Sequence[Atoms]) -> Dataset:
    """Check labelled frames and take the self energies off their energies.

    Raises
    ------
    AlrareError
        If there are fewer than 2 frames, or a frame has no label or one that is not finite; the
        message names the frame.
    """
    if len(frames) < 2:
        raise AlrareError(f"training needs at least 2 labelled frames, got {len(frames)}")
    for number, atoms in enumerate(frames):
        name = f"frame {number} ({atoms.get_chemical_formula()})"
        if not is_labelled(atoms):
            raise AlrareError(
                f"{name}: expected an energy and forces, got none; label it first: alrare label"
            )
        energy, forces = label_of(atoms)
        if forces.shape != (len(atoms), 3):
            raise AlrareError(
                f"{name}: expected forces of shape {(len(atoms), 3)}, got {forces.shape}"
            )
        for what, values in (
            ("energy", energy),
            ("forces", forces),
            ("positions", atoms.positions),
        ):
            if not np.isfinite(values).all():
                raise AlrareError(f"{name}: its {what} must be finite, got NaN or infinity")
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    labels = [label_of(atoms) for atoms in frames]
    energies = np.array([energy for energy, _ in labels])
    composition = np.array([[np.sum(atoms.numbers == z) for z in numbers] for atoms in frames])
    self_energies = fit_self_energies(composition, energies)
    return Dataset(
        elements=tuple(chemical_symbols[z] for z in numbers),
        self_energies=self_energies,
        energies=energies - composition @ self_energies,
        forces=[forces for _, forces in labels],
    )


def fit_self_energies(composition: npt.NDArray[np.int64], energies: Array) -> Array:
    """Least-squares energies of the elements; the smallest ones where the data leave a choice.

    Parameters
    ----------
    composition : (C, S) array
        Atoms of each element in each configuration.
    energies : (C,) array, eV

    Returns
    -------
    (S,) array, eV
    """
    solution: Array = np.linalg.lstsq(composition.astype(float), energies, rcond=1e-10)[0]
    return solution


def dataset_hash(keys: Sequence[str], dataset: Dataset) -> str:
    """Identity of a data set: configurations and labels, in order.

    Parameters
    ----------
    keys : sequence of str
        Of the configurations (`alrare.descriptors.DescriptorCache.key`).
    dataset : Dataset
    """
    digest = hashlib.sha256("".join(keys).encode())
    digest.update(dataset.energies.tobytes() + dataset.self_energies.tobytes())
    for forces in dataset.forces:
        digest.update(np.ascontiguousarray(forces).tobytes())
    return digest.hexdigest()


def _sorted(rows: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(sorted(int(row) for row in rows))
