"""The native CPU engine and the selection core (src/bindings). Units: eV, Å."""

from collections.abc import Callable, Sequence
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

class Selection:
    def __init__(
        self,
        *,
        threshold: float | None = None,
        relative: float | None = None,
        relative_floor: float | None = None,
        screening_steps: int = 1000,
        sigma: float = 3.0,
        energy_gap: float = 0.0,
        cv_gap: float = 0.0,
        gap_steps: int = 0,
        max_per_run: int = 50,
        upper: float | None = None,
        upper_sigma: float | None = None,
    ) -> None: ...
    def judge(
        self,
        uncertainty: float,
        energy: float,
        *,
        cv: float = 0.0,
        step: int = 0,
        size: float | None = None,
        geometry_is_sound: Callable[[], bool],
    ) -> str: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def mean(self) -> float: ...
    @property
    def std(self) -> float: ...
    @property
    def selected(self) -> int: ...
    @property
    def above(self) -> int: ...
    @property
    def too_similar(self) -> int: ...
    @property
    def unphysical(self) -> int: ...
    @property
    def full(self) -> bool: ...

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

def adam_step(
    parameter: NDArray[np.float32],
    *,
    gradient: ArrayLike,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    step: int,
) -> None: ...

class Soap:
    def __init__(
        self,
        parameters: Sequence[NDArray[np.float32]],
        *,
        goals: Sequence[ArrayLike],
        betas: tuple[float, float],
        weight_decay: float,
        refresh: int,
        statistics: int,
        clip: float,
        instruction_set: str = "auto",
    ) -> None: ...
    def begin(self, parameter: int, left: ArrayLike, right: ArrayLike) -> None: ...
    def step(self, gradients: Sequence[ArrayLike], rate: float) -> None: ...

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
        length: ArrayLike,
        unit: ArrayLike,
        slope: ArrayLike,
        short: ArrayLike,
        jacobian: ArrayLike,
    ) -> None: ...

class MemberGradient:
    def __init__(self, *, instruction_set: str = "auto") -> None: ...
    def energies(
        self,
        species: ArrayLike,
        configuration: ArrayLike,
        aev: ArrayLike,
        n_configurations: int,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        whitening: Sequence[tuple[ArrayLike, ArrayLike]],
    ) -> Floats: ...
    def predict(
        self,
        batch: TrainingBatch,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        whitening: Sequence[tuple[ArrayLike, ArrayLike]],
    ) -> tuple[Floats, NDArray[np.float32]]: ...
    def strain_derivatives(
        self,
        batch: TrainingBatch,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        whitening: Sequence[tuple[ArrayLike, ArrayLike]],
    ) -> Floats: ...
    def loss_gradient(
        self,
        batch: TrainingBatch,
        networks: Sequence[Sequence[tuple[ArrayLike, ArrayLike]]],
        whitening: Sequence[tuple[ArrayLike, ArrayLike]],
        energies: ArrayLike,
        forces: ArrayLike,
        force_weight: float,
        strained: ArrayLike,
        strain: ArrayLike,
        stress_weight: float,
    ) -> tuple[float, list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]]]: ...

def instruction_set() -> str: ...
def neighbors(
    species: ArrayLike,
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: Sequence[bool] = (False, False, False),
) -> tuple[Ints, Ints, Floats]: ...
