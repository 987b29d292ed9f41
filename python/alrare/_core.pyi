"""The native CPU engine on numpy arrays (src/bindings/core.cpp). Units: eV, Å."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

class Ensemble:
    def __init__(self, path: str, *, instruction_set: str = "auto", threads: int = 1) -> None: ...
    @property
    def elements(self) -> list[str]: ...
    @property
    def members(self) -> int: ...
    @property
    def best_member(self) -> int: ...
    @property
    def cutoff(self) -> float: ...
    @property
    def description(self) -> str: ...
    def evaluate(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
        weights: ArrayLike | None = None,
    ) -> tuple[Floats, Floats, Floats]: ...
    def evaluate_members(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> tuple[Floats, Floats, Floats]: ...
    def atomic_energies(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> Floats: ...
    def descriptors(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> NDArray[np.float32]: ...

class Descriptor:
    def __init__(
        self,
        *,
        n_elements: int,
        radial_cutoff: float,
        angular_cutoff: float,
        radial_eta: float,
        radial_shifts: Sequence[float],
        angular_eta: float,
        zeta: float,
        angular_shifts: Sequence[float],
        angle_sections: Sequence[float],
        instruction_set: str = "auto",
    ) -> None: ...
    def compute(
        self,
        species: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> dict[str, NDArray[Any]]: ...

class TrainingBatch:
    def __init__(
        self,
        *,
        n_elements: int,
        n_configurations: int,
        species: ArrayLike,
        configuration: ArrayLike,
        aev: ArrayLike,
        edge_i: ArrayLike,
        edge_j: ArrayLike,
        unit: ArrayLike,
        slope: ArrayLike,
        short: ArrayLike,
        jacobian: ArrayLike,
    ) -> None: ...

class MemberGradient:
    def __init__(self, *, instruction_set: str = "auto") -> None: ...
    def predict(
        self,
        batch: TrainingBatch,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        centers: Sequence[ArrayLike],
    ) -> tuple[Floats, NDArray[np.float32]]: ...
    def loss_gradient(
        self,
        batch: TrainingBatch,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        centers: Sequence[ArrayLike],
        energies: ArrayLike,
        forces: ArrayLike,
        force_weight: float,
    ) -> tuple[float, list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]]]: ...

def instruction_set() -> str: ...
def multiply(
    left: ArrayLike, right: ArrayLike, *, instruction_set: str = "auto"
) -> NDArray[np.float32]: ...
def neighbors(
    species: ArrayLike,
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: Sequence[bool] = (False, False, False),
) -> tuple[Ints, Ints, Floats]: ...
