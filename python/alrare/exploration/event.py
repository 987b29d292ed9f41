"""The rare event of a run: the first bond that breaks or forms.

The bonds are those of the run's first frame. Bonds that the symmetry of the molecule makes
equivalent, as the two at the ends of a chain that is pulled at both ends, are one event.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

BONDED = 1.25
"""Two atoms are bonded if closer than this times the sum of their covalent radii."""
CHANGED = 1.45
"""A bond is broken if longer than this times its length in the first frame (C-C: about 2.2 Å); and
formed if its atoms are bonded, and were more than this times as far apart in the first frame."""


@dataclass(frozen=True)
class Event:
    """The first bond that broke or formed in a run."""

    index: int
    """Index of the first frame that shows it, from 0."""
    kind: Literal["broken", "formed"]
    atoms: tuple[int, int]
    """The bond's two atoms, from 1 as in LAMMPS."""
    equivalent: tuple[int, int]
    """The first pair of atoms that symmetry makes equivalent to them; the same for equal events."""

    def is_like(self, other: "Event | None") -> bool:
        """Whether the same bond broke or formed in another run of the same system."""
        return other is not None and (self.kind, self.equivalent) == (other.kind, other.equivalent)


def find_event(frames: Sequence[Atoms], driven: Collection[int] = ()) -> Event | None:
    """Return the first bond of a run that broke or formed; None if none did.

    If several did in the same frame, it is a broken one if there is one, and the one with the
    largest ratio of its lengths.

    Parameters
    ----------
    frames : sequence of Atoms
        Frames of one run in order of step: molecules, or cells with unwrapped positions.
    driven : collection of int
        The atoms, from 1, that a spring or a force acts on: they are equivalent to each other only.
    """
    if not frames:
        return None
    bonds = Bonds(frames[0])
    for index, frame in enumerate(frames):
        changes: list[tuple[Literal["broken", "formed"], Any, NDArray[np.float64]]] = [
            ("broken", bonds.pairs, bonds.stretch(frame)),
            ("formed", *bonds.formed(frame)),
        ]
        for kind, pairs, ratio in changes:
            if (ratio > CHANGED).any():
                one, other = (int(atom) for atom in pairs[int(np.argmax(ratio))])
                equivalent = bonds.equivalent((one, other), kind == "broken", driven)
                return Event(index, kind, (one + 1, other + 1), equivalent)
    return None


class Bonds:
    """The bonds of a first frame, to which later frames are compared."""

    def __init__(self, start: Atoms) -> None:
        self._start = start
        self._cutoffs = BONDED * covalent_radii[start.numbers]
        self.pairs, self.images = self._bonded(start)
        """(n, 2) atoms of each bond from 0, and (n, 3) the cell image of the second of them."""
        self._lengths = self._length(start, self.pairs, self.images)
        self._known = {tuple(pair) for pair in self.pairs.tolist()}

    def stretch(self, frame: Atoms) -> NDArray[np.float64]:
        """Return the length of each bond over that in the first frame."""
        return self._length(frame, self.pairs, self.images) / self._lengths

    def formed(self, frame: Atoms) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return pairs that are bonded now only, and by how much they have come closer."""
        pairs, images = self._bonded(frame)
        new = np.array([tuple(pair) not in self._known for pair in pairs.tolist()], dtype=bool)
        pairs, images = pairs[new], images[new]
        now = self._length(frame, pairs, images)
        return pairs, self._length(self._start, pairs, images) / now

    def equivalent(
        self, atoms: tuple[int, int], bonded: bool, driven: Collection[int]
    ) -> tuple[int, int]:
        """Return the first pair, from 1, with the same surroundings as these atoms, from 0."""
        ranks = self._ranks(driven)
        wanted = sorted(ranks[list(atoms)])
        first, second = np.triu_indices(len(ranks), 1)
        for one, other in self.pairs if bonded else zip(first, second, strict=True):
            same = sorted((ranks[one], ranks[other])) == wanted
            if same and (bonded or (one, other) not in self._known):
                return int(one) + 1, int(other) + 1
        raise AssertionError("the pair itself is one of them")

    def _ranks(self, driven: Collection[int]) -> NDArray[np.intp]:
        """Return a number for each atom; atoms with the same surroundings have the same number.

        An atom's number is refined by those of its neighbors until it changes no more (Weisfeiler
        and Leman 1968; in chemistry, Morgan 1965).
        """
        moved = [index + 1 in driven for index in range(len(self._start))]
        ranks = _numbered(list(zip(self._start.numbers.tolist(), moved, strict=True)))
        while True:
            around: list[list[int]] = [[] for _ in ranks]
            for one, other in self.pairs:
                around[one].append(int(ranks[other]))
                around[other].append(int(ranks[one]))
            colors = [
                (int(rank), tuple(sorted(near))) for rank, near in zip(ranks, around, strict=True)
            ]
            refined = _numbered(colors)
            if refined.max(initial=0) == ranks.max(initial=0):
                return ranks
            ranks = refined

    def _bonded(self, frame: Atoms) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the bonded pairs (n, 2), lower index first, and the cell image of the second."""
        if not frame.pbc.any():
            first, second = np.triu_indices(len(frame), 1)
            apart = frame.positions[second] - frame.positions[first]
            near = (
                np.einsum("ij,ij->i", apart, apart)
                < (self._cutoffs[first] + self._cutoffs[second]) ** 2
            )
            pairs = np.stack([first[near], second[near]], axis=1)
            return pairs, np.zeros((len(pairs), 3), dtype=np.intp)
        first, second, images = neighbor_list("ijS", frame, self._cutoffs.tolist())
        once = np.flatnonzero(first < second)  # an atom's bond to its own image is not looked at
        once = once[np.lexsort((second[once], first[once]))]
        return np.stack([first, second], axis=1)[once], images[once]

    @staticmethod
    def _length(
        frame: Atoms, pairs: NDArray[np.intp], images: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        apart = frame.positions[pairs[:, 1]] - frame.positions[pairs[:, 0]]
        lengths: NDArray[np.float64] = np.linalg.norm(apart + images @ frame.cell.array, axis=1)
        return lengths


def _numbered(colors: Sequence[object]) -> NDArray[np.intp]:
    """Return the number of each color in their order; equal colors have equal numbers."""
    order = {color: number for number, color in enumerate(sorted(set(colors)))}  # type: ignore[type-var]
    return np.array([order[color] for color in colors], dtype=np.intp)
