"""Frames: one configuration of a molecule or cell, labelled or not, as `ase.Atoms`.

A labelled frame carries its energy (eV) and forces (eV/Å) in a `SinglePointCalculator`. On disk a
frame is extended XYZ, which keeps 8 decimals of a position: a frame's identity is therefore its
positions to 1e-8 Å, so that it survives being written and read.

These are all the keys of `frame.info` that alrare writes or reads; extended XYZ keeps them.

=================== ================= ================================ =============================
key                 type, unit        written by                       read by
=================== ================= ================================ =============================
``step``            int               fix al_select, `select_frames`,  `choose`, `select_frames`,
                                      `read_trajectory`, labeller's MD `observe`, `around_break`
``Timestep``        int               LAMMPS (dump extxyz)             `select_frames`, where
                                                                       ``step`` is missing
``cv``              float             fix al_select, `select_frames`   `choose`, `select_frames`
``member_energies`` (M,) float, eV    fix al_select, `select_frames`   -
``energy_std``      float, eV         fix al_select, `select_frames`   -
``force_std``       float, eV/Å       fix al_select, `select_frames`;  -
                                      only where it is computed
``threshold``       float, eV or eV/Å fix al_select, `select_frames`   -
``pull``            int, from 0       `choose`: which pull             `choose`: sorts equal steps
``copy_of``         int, from 0       `noisy_copies`: row of the       `new_labels`: which labels
                                      original frame                   are those of copies
``distance``        float, Å          labeller's pulls: distance of    -
                                      the pulled atoms
``start``           str               `relaxed_structure`: `frame_key` `campaign.reference`: whether
                                      before the relaxation            the file belongs to al.toml
``label``           str               `LabelStore.frames`: its key     -
``origin``          str               `LabelStore.frames`: the stage   -
                                      that requested the label
``method``          str               `LabelStore.frames`: hash of the `common_method`: refuses
                                      labeller's method                labels of two methods
=================== ================= ================================ =============================

``cv`` is in the unit of the collective variable, Å for the distance of the pulled atoms. The fix
writes ``cv`` if its command has a variable, and ``force_std`` if the pair style computes the forces
of all members (docs/fix_al_select.md). Keys with a dash are for the user.
"""

import bz2
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.formats import filetype
from numpy.typing import NDArray

from .errors import AlrareError, LabelError
from .files import atomic_path

_COMPRESSED: dict[str, Callable[..., IO[str]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}

RESOLUTION = 1e-8
"""Å; positions and cells closer than this are the same frame (the last decimal of extended XYZ)."""


def read_frames(path: Path) -> list[Atoms]:
    """Read every frame of a structure file.

    Parameters
    ----------
    path : Path
        Any format that ASE reads; extended XYZ (also compressed) keeps energies and forces.

    Raises
    ------
    AlrareError
        If the file is missing, is not a structure file, or holds no frame.
    """
    if path.is_dir():
        raise AlrareError(f"{path}: expected a structure file that ASE reads, got a folder")
    if not path.is_file():
        raise AlrareError(f"{path}: no such file; expected a structure file that ASE reads")
    try:
        # Formats of one configuration give one Atoms, even for an index that asks for all.
        content = ase.io.read(**_source(path), index=":")
    except Exception as error:  # ASE's readers raise anything from StopIteration to KeyError
        raise AlrareError(
            f"{path}: expected a structure file that ASE reads (extended XYZ, ...), got"
            f" {type(error).__name__}: {error}"
        ) from error
    frames = content if isinstance(content, list) else [content]
    if not frames or any(len(frame) == 0 for frame in frames):
        raise AlrareError(f"{path}: expected at least one frame with atoms, found none")
    return frames


def _source(path: Path) -> dict[str, Any]:
    opener = _COMPRESSED.get(path.suffix)
    if opener is None:
        return {"filename": path}
    # ASE's readers seek, which begins the decompression anew: minutes for some thousand frames.
    with opener(path, "rt") as stream:
        text = stream.read()
    plain = path.with_suffix("")
    return {"filename": io.StringIO(text), "format": filetype(plain.name, read=False)}


def write_frames(path: Path, frames: Iterable[Atoms]) -> None:
    """Write frames, with their labels, as extended XYZ: the whole file or none."""
    with atomic_path(path) as partial:
        ase.io.write(partial, list(frames), format="extxyz")


def labelled(atoms: Atoms, energy: float, forces: NDArray[np.float64]) -> Atoms:
    """Return a copy of a frame that carries a label.

    Parameters
    ----------
    atoms : Atoms
        N atoms; `info` is copied, a calculator is not.
    energy : float
        eV.
    forces : (N, 3) array
        eV/Å.
    """
    frame: Atoms = atoms.copy()
    frame.calc = SinglePointCalculator(frame, energy=float(energy), forces=np.array(forces))
    return frame


def is_labelled(atoms: Atoms) -> bool:
    """Whether a frame carries an energy and forces."""
    results = getattr(atoms.calc, "results", {})
    return "energy" in results and "forces" in results


def label_of(atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    """Return the energy (eV) and the (N, 3) forces (eV/Å) that a labelled frame carries.

    Raises
    ------
    AlrareError
        If the frame carries no label; this function computes none.
    """
    if not is_labelled(atoms):
        raise AlrareError(
            f"{atoms.get_chemical_formula()}: expected a labelled frame (energy and forces), got"
            " one without; label it first: alrare label"
        )
    results = atoms.calc.results
    return float(results["energy"]), np.asarray(results["forces"], dtype=np.float64)


def check_labels(frames: Sequence[Atoms]) -> None:
    """Refuse frames without a usable label.

    Raises
    ------
    AlrareError
        If a frame has no energy or no forces, or a number that is not finite; the message names
        the frame, counted from 1.
    """
    for number, atoms in enumerate(frames, start=1):
        name = f"frame {number} ({atoms.get_chemical_formula()})"
        if not is_labelled(atoms):
            results = getattr(atoms.calc, "results", {})
            known = [f"only {key}" for key in ("energy", "forces") if key in results]
            raise AlrareError(
                f"{name}: expected an energy and forces, got {(known or ['none'])[0]}; label it"
                " first: alrare label"
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
            ("cell", atoms.cell.array),
        ):
            if not np.isfinite(values).all():
                raise AlrareError(f"{name}: its {what} must be finite, got NaN or infinity")


def frame_key(atoms: Atoms, method: str) -> str:
    """Return the key of a label: a hash of the configuration and the method.

    Parameters
    ----------
    atoms : Atoms
        Its elements, positions, cell and pbc enter, rounded to `RESOLUTION`, in the order of the
        atoms. A cell vector enters only if its direction is periodic, so the box that a molecule
        stands in does not matter.
    method : str
        Hash of the labeller's method (`alrare.labelling.method_of`).

    Returns
    -------
    str
        sha256 in hexadecimal.

    Raises
    ------
    LabelError
        If a position is not finite.
    """
    if not np.isfinite(atoms.positions).all():
        raise LabelError(
            f"{atoms.get_chemical_formula()}: a position is not finite; such a frame has no label"
        )
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    digest = hashlib.sha256()
    for part in (
        np.asarray(atoms.numbers, dtype="<i8"),
        np.rint(atoms.positions / RESOLUTION).astype("<i8"),
        np.rint(cell / RESOLUTION).astype("<i8"),
        np.asarray(atoms.pbc, dtype="<i8"),
    ):
        digest.update(str(part.shape).encode() + part.tobytes())
    digest.update(method.encode())
    return digest.hexdigest()


def closest_pair(atoms: Atoms) -> tuple[float, int, int]:
    """Return the smallest interatomic distance in Å and the two atoms, counted from 0.

    A frame of one atom gives infinity. The nearest periodic image is used.
    """
    if len(atoms) < 2:
        return np.inf, 0, 0
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    first, second = np.unravel_index(np.argmin(distances), distances.shape)
    return float(distances[first, second]), int(first), int(second)
