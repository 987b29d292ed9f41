"""Frames: one configuration of a molecule or cell, labelled or not, as `ase.Atoms`.

A labelled frame carries its energy (eV) and forces (eV/Å) in a `SinglePointCalculator`, and its
stress (eV/Å³) if it is periodic and the labeller gives one. On disk a frame is extended XYZ, which
keeps 8 decimals of a position: a frame's identity is therefore its positions to 1e-8 Å, so that it
survives being written and read.

These are all the keys of `frame.info` that alrare writes or reads; extended XYZ keeps them.

==================== ================= ================================ ============================
key                  type, unit        written by                       read by
==================== ================= ================================ ============================
``step``             int               fix al_select, `select_frames`,  `choose`, `select_frames`,
                                       `read_trajectory`, labeller's MD `observe`, `around_event`
``Timestep``         int               LAMMPS (dump extxyz)             `select_frames`, where
                                                                        ``step`` is missing
``cv``               float             fix al_select, `select_frames`   `choose`, `select_frames`
``member_energies``  (M,) float, eV    fix al_select, `select_frames`   -
``energy_std``       float, eV         fix al_select, `select_frames`   -
``force_std``        float, eV/Å       fix al_select, `select_frames`;  -
                                       only where it is computed
``potential_energy`` float, eV         fix al_select with               -
                                       ``uncertainty v_name``
``uncertainty``      float, of the     the same                         -
                     variable
``threshold``        float, unit of    fix al_select, `select_frames`   -
                     the uncertainty
``pull``             int, from 0       `choose`: which pull             `choose`: sorts equal steps
``copy_of``          int, from 0       `noisy_copies`: row of the       `new_labels`: which labels
                                       original frame                   are those of copies
``distance``         float, Å          labeller's pulls: distance of    -
                                       the pulled atoms
``start``            str               `relaxed_structure`: `frame_key` `relaxed_structure`: whether
                                       before the relaxation            the file belongs to al.toml
``label``            str               `LabelStore.frames`: its key     -
``origin``           str               `LabelStore.frames`: the stage   -
                                       that requested the label
``config_type``      str               `collect_labels`: name of the    `alrare evaluate`: errors by
                                       campaign                         config_type
``method``           str               `LabelStore.frames`: hash of the `common_method`: refuses
                                       labeller's method                labels of two methods
``charge``           int, elementary   `with_state`; both, unless       `electronic_state.state_of`:
                     charges           neutral and lowest;              labels, keys, training
                                       `collect_labels` always
``multiplicity``     int, 2S + 1       the same                         the same
==================== ================= ================================ ============================

``cv`` is in the unit of the collective variable, Å for the distance of the pulled atoms. The fix
writes ``cv`` if its command has a variable, and ``force_std`` if the pair style computes the forces
of all members (docs/fix_al_select.md). Keys with a dash are for the user.
``charge`` and ``multiplicity`` are read in other forms, too (`electronic_state`).
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from .electronic_state import lowest_state, state_of
from .errors import AlrareError, LabelError
from .files import PathLike, atomic_path
from .label_keys import LabelKeys, as_stress, check_stress_key, is_cell, take_labels
from .xyz import cure, other_keys, source_of, without_empty_texts

FAR = 10.0
"""Å; an atom whose periodic images are at least this far is taken as isolated."""
RESOLUTION = 1e-8
"""Å; positions and cells closer than this are the same frame (the last decimal of extended XYZ)."""

_PLACE = "alrare_place"
"""Attribute of a frame that was read: its file and number, for errors. A copy does not have it."""


def read_frames(
    path: PathLike,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    leave_out_cut: bool = False,
) -> list[Atoms]:
    """Read every frame of a structure file.

    Parameters
    ----------
    path : Path or str
        Any format that ASE reads; extended XYZ (also compressed) keeps energies and forces.
    energy_key, forces_key : str, optional
        Names of the energy (eV) and the forces (eV/Å) in the file if they are not called
        ``energy`` and ``forces``: ``REF_energy``, ``dft_forces``. Every frame must have them; only
        a single atom needs no forces.
    stress_key : str, optional
        Name of the stress (eV/Å³, ASE's signs) if it is not called ``stress``; at least one of the
        frames that are periodic in three directions must have it.
    leave_out_cut : bool
        Leave out a last frame of an XYZ file that is cut off, as a kill leaves it; none may be
        left then. Without it such a file is refused.

    Raises
    ------
    AlrareError
        If the file is missing, is damaged or not a structure file, holds no frame, a label of the
        given name is missing, or an atom is of no known element.
    """
    path = Path(path)
    if path.is_dir():
        raise AlrareError(f"{path}: expected a structure file that ASE reads, got a folder")
    if not path.is_file():
        raise AlrareError(f"{path}: no such file; expected a structure file that ASE reads")
    try:
        # Formats of one configuration give one Atoms, even for an index that asks for all.
        if (source := source_of(path, leave_out_cut=leave_out_cut)) is None:
            return []
        content = ase.io.read(**source, index=":", parallel=False)
    except AlrareError:
        raise
    except Exception as error:  # ASE's readers raise anything from StopIteration to KeyError
        arrays = path.suffix in (".npz", ".h5", ".hdf5")
        cure = "; docs/training.md shows how to convert data sets of arrays" if arrays else ""
        raise AlrareError(
            f"{path}: expected a structure file that ASE reads (extended XYZ, ...), got"
            f" {type(error).__name__}: {error}{cure}"
        ) from error
    frames = content if isinstance(content, list) else [content]
    if not frames or any(len(frame) == 0 for frame in frames):
        raise AlrareError(f"{path}: expected at least one frame with atoms, found none")
    keys = LabelKeys(energy_key, forces_key, stress_key)
    for number, frame in enumerate(frames, start=1):
        setattr(frame, _PLACE, f"{path}, frame {number}")
        if 0 in frame.numbers:
            atom = frame.numbers.tolist().index(0) + 1
            raise AlrareError(
                f"{place_of(frame, number)}: atom {atom} is of no known element; remove dummy"
                " atoms (X)"
            )
        take_labels(frame, keys, place_of(frame, number))
    check_stress_key(frames, stress_key, place_of)
    return frames


def require_frames(frames: object, function: str) -> None:
    """Raise AlrareError, which names the function, for what is no sequence of frames."""
    if not isinstance(frames, Sequence) or not all(isinstance(frame, Atoms) for frame in frames):
        raise AlrareError(
            f"{function}: expected a sequence of ase.Atoms, such as [atoms] or read_frames(path),"
            f" got {type(frames).__name__}"
        )


def place_of(atoms: Atoms, number: int) -> str:
    """Return how errors name a frame: by its file and its number there, if it was read from one.

    Parameters
    ----------
    atoms : Atoms
    number : int
        Its number in the sequence at hand, from 1, which names it otherwise.
    """
    place = getattr(atoms, _PLACE, f"frame {number}")
    return f"{place} ({atoms.get_chemical_formula()})"


def write_frames(path: PathLike, frames: Iterable[Atoms]) -> None:
    """Write frames, with their labels, as extended XYZ: the whole file or none.

    Empty texts in `info` are left out: ASE writes them so that they swallow the key after them.
    """
    with atomic_path(Path(path)) as partial:
        text = io.StringIO()
        # parallel: in a process that has imported mpi4py, ASE would let rank 0 alone write
        ase.io.write(
            text,
            [without_empty_texts(frame) for frame in frames],
            format="extxyz",
            parallel=False,
        )
        partial.write_text(text.getvalue(), encoding="utf-8")


def labelled(
    atoms: Atoms,
    energy: float,
    forces: NDArray[np.float64],
    stress: NDArray[np.float64] | None = None,
) -> Atoms:
    """Return a copy of a frame that carries a label.

    Parameters
    ----------
    atoms : Atoms
        N atoms; `info` is copied, a calculator is not.
    energy : float
        eV.
    forces : (N, 3) array
        eV/Å.
    stress : (6,) array, optional
        eV/Å³, ASE's signs and order: xx, yy, zz, yz, xz, xy; positive where the cell would shrink.
    """
    frame: Atoms = atoms.copy()
    results = {"energy": float(energy), "forces": np.array(forces)}
    if stress is not None:
        results["stress"] = np.array(stress)
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def is_labelled(atoms: Atoms) -> bool:
    """Whether a frame carries an energy and forces; a single atom needs no forces."""
    results = getattr(atoms.calc, "results", {})
    has_energy = "energy" in results or "free_energy" in results
    return has_energy and ("forces" in results or len(atoms) == 1)


def label_of(atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    """Return the energy (eV) and the (N, 3) forces (eV/Å) that a labelled frame carries.

    The energy is ``free_energy`` where a frame has one, otherwise ``energy``: with smeared
    occupations the forces are the gradient of the free energy. A single atom without forces has
    none, by symmetry.

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
    energy = results["free_energy"] if "free_energy" in results else results["energy"]
    forces = results.get("forces", np.zeros((len(atoms), 3)))
    return float(energy), np.asarray(forces, dtype=np.float64)


def stress_of(atoms: Atoms, number: int = 1) -> NDArray[np.float64] | None:
    """Return the (6,) stress (eV/Å³) that a labelled frame carries, as in `labelled`; or None.

    Parameters
    ----------
    atoms : Atoms
    number : int
        Its number in the sequence at hand, from 1, for errors.

    Raises
    ------
    AlrareError
        If it is neither 6 numbers nor 3 x 3.
    """
    stress = getattr(atoms.calc, "results", {}).get("stress")
    return None if stress is None else as_stress(stress, place_of(atoms, number))


def stress_tensor(atoms: Atoms) -> NDArray[np.float64] | None:
    """Return the stress (3, 3) that a labelled frame carries, eV/Å³.

    None without one, and for a frame that is not periodic in three directions: its volume is that
    of any box.
    """
    stress = stress_of(atoms)
    if stress is None or not is_cell(atoms):
        return None
    tensor: NDArray[np.float64] = voigt_6_to_full_3x3_stress(stress)
    return tensor


def is_isolated_atom(atoms: Atoms) -> bool:
    """Whether a frame is an atom alone: its periodic images, if any, are `FAR` apart."""
    return len(atoms) == 1 and all(
        length >= FAR
        for length, periodic in zip(atoms.cell.lengths(), atoms.pbc, strict=True)
        if periodic
    )


def check_labels(frames: Sequence[Atoms]) -> None:
    """Refuse frames without a usable label.

    Raises
    ------
    AlrareError
        If a frame has no energy or no forces, a stress of another shape than 6 or 3 x 3, or a
        number that is not finite; the message names the frame, counted from 1.
    """
    for number, atoms in enumerate(frames, start=1):
        name = place_of(atoms, number)
        if not is_labelled(atoms):
            results = getattr(atoms.calc, "results", {})
            known = [f"only {key}" for key in ("energy", "forces") if key in results]
            raise AlrareError(
                f"{name}: expected an energy and forces, got {(known or ['none'])[0]}"
                f"{other_keys(atoms)}; {cure(atoms)}"
            )
        energy, forces = label_of(atoms)
        if forces.shape != (len(atoms), 3):
            raise AlrareError(
                f"{name}: expected forces of shape {(len(atoms), 3)}, got {forces.shape}"
            )
        stress = stress_of(atoms, number)
        for what, values in (
            ("energy", energy),
            ("forces", forces),
            ("stress", 0.0 if stress is None else stress),
            ("positions", atoms.positions),
            ("cell", atoms.cell.array),
        ):
            if not np.isfinite(values).all():
                raise AlrareError(f"{name}: its {what} must be finite, got NaN or infinity")


def common_method(frames: Sequence[Atoms]) -> str:
    """Return the hash of the method that made the labels; empty if no frame names one.

    Parameters
    ----------
    frames : sequence of Atoms
        `info["method"]` is the hash, as `alrare label` writes it.

    Raises
    ------
    AlrareError
        If the frames name more than one: their energies do not belong together.
    """
    first: dict[str, int] = {}
    for number, atoms in enumerate(frames, start=1):
        if "method" in atoms.info:
            first.setdefault(str(atoms.info["method"]), number)
    if len(first) > 1:
        named = ", ".join(
            f"{method[:16]} in {place_of(frames[number - 1], number)}"
            for method, number in first.items()
        )
        raise AlrareError(
            f"expected labels of one method, got {len(first)}: {named}; label all frames by one"
        )
    return next(iter(first), "")


def frame_key(atoms: Atoms, method: str) -> str:
    """Return the key of a label: a hash of the configuration and the method.

    Parameters
    ----------
    atoms : Atoms
        Its elements, positions, cell and pbc enter, rounded to `RESOLUTION`, in the order of the
        atoms. A cell vector enters only if its direction is periodic, so the box that a molecule
        stands in does not matter. Charge and multiplicity enter if they are not those of a frame
        that states none.
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
    AlrareError
        If the frame contradicts itself in its charge or multiplicity.
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
    state = state_of(atoms)
    if state != lowest_state(atoms):
        digest.update(str(state).encode())
    digest.update(method.encode())
    return digest.hexdigest()
