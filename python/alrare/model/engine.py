"""What evaluates a model file for the calculator, chosen by the family in the file; no torch."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import ModelError
from ..files import PathLike
from .model_file import model_path, read_metadata

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Engine(Protocol):
    """An ensemble ready to be evaluated; units eV and Å.

    Both methods raise RuntimeError if two atoms are at the same place or a position is no number.
    """

    @property
    def elements(self) -> list[str]:
        """Their order defines the species."""

    @property
    def members(self) -> int:
        """M, the number of members."""

    @property
    def best_member(self) -> int:
        """From 0."""

    def evaluate(
        self,
        species: Ints,
        positions: Floats,
        cell: Floats | None = None,
        pbc: Sequence[bool] = (False, False, False),
        weights: Floats | None = None,
    ) -> tuple[Floats, Floats, Floats]:
        """Energies (M,) of the members; forces (N, 3) and virial (3, 3) of their weighted sum."""

    def evaluate_members(
        self,
        species: Ints,
        positions: Floats,
        cell: Floats | None = None,
        pbc: Sequence[bool] = (False, False, False),
    ) -> tuple[Floats, Floats, Floats]:
        """Energies (M,), forces (M, N, 3) and virials (M, 3, 3) of every member."""


def open_engine(path: Path, metadata: Mapping[str, Any], threads: int) -> Engine:
    """Open a model file.

    Parameters
    ----------
    path : Path
        `ensemble.safetensors`.
    metadata : mapping
        Its JSON object; empty if the file is missing.
    threads : int

    Raises
    ------
    ModelError
        If the file is missing, or is no model or a damaged one.
    """
    family = metadata.get("family", "ani")
    if family not in _ENGINES:
        raise ModelError(
            f"{path}: a model of the family {family}, which this alrare does not know; use the"
            " version that wrote it"
        )
    try:
        return _ENGINES[family](path, threads)
    except RuntimeError as error:
        raise ModelError(str(error)) from error


def lammps_file(model: PathLike) -> Path:
    """Return the one of a model's two files that LAMMPS opens.

    It is `ensemble.safetensors` for ANI, and `ensemble.pt`, the TorchScript export, for families
    that the native engine does not evaluate.

    Parameters
    ----------
    model : Path or str
        Either file, or their folder.

    Raises
    ------
    ModelError
        If LAMMPS needs the export of a model that lacks it.
    """
    weights, export = model_path(model, ".safetensors"), model_path(model, ".pt")
    if _is_native(weights):
        return weights
    if not export.is_file():
        raise ModelError(
            f"{export}: missing; LAMMPS opens this file of the model {weights}: copy it, too, or"
            " train again with the same command, which keeps finished members"
        )
    return export


def _is_native(path: Path) -> bool:
    try:
        family = read_metadata(path).get("family", "ani")
    except ModelError:  # whoever opens the file says what is wrong
        return True
    return _ENGINES.get(family) is _native


def _native(path: Path, threads: int) -> Engine:
    return _core.Ensemble(str(path), threads=threads)


def _torch(path: Path, threads: int) -> Engine:
    from .torch_engine import TorchEngine

    return TorchEngine(path, threads)


_ENGINES: Mapping[str, Callable[[Path, int], Engine]] = {"ani": _native, "schnet": _torch}
