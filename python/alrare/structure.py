"""The molecule of a campaign: read once, checked before anything runs."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import minkowski_reduce
from ase.io import read

from .config import Config, System
from .electronic_state import check_whole, state_of, with_state
from .errors import AlrareError, ConfigError


def load_structure(
    config: Config, system: System | None = None, *, periodic: bool = False
) -> Atoms:
    """Read the structure of a system and check that it can be driven; see `read_structure`.

    Parameters
    ----------
    config : Config
        `timestep` and `[labeller] min_distance` are used.
    system : System, optional
        By default the first one of the campaign.
    periodic : bool
        Whether it may be a cell.

    Raises
    ------
    ConfigError
        As `read_structure`, or if al.toml and the file state different charges or multiplicities.
    """
    system = system or config.systems[0]
    atoms = read_structure(
        system.structure,
        pulled=system.atoms,
        min_distance=config.labeller.min_distance,
        charge=system.charge,
        multiplicity=system.multiplicity,
        periodic=periodic,
    )
    check_timestep(config.timestep, atoms)
    state = state_of(atoms)
    for key, wanted in (("charge", system.charge), ("multiplicity", system.multiplicity)):
        if wanted is not None and wanted != getattr(state, key):
            raise ConfigError(
                f"{key} = {wanted}: but structure = '{system.structure}' states"
                f" {getattr(state, key)}; correct one of them"
            )
    return atoms


def read_structure(
    path: Path,
    *,
    pulled: tuple[int, int] | None,
    min_distance: float = 0.5,
    charge: int | None = None,
    multiplicity: int | None = None,
    periodic: bool = False,
) -> Atoms:
    """Read a structure and check that it can be driven.

    If the file holds several frames, the last one is read, as ASE does.

    Parameters
    ----------
    path : Path
        Any structure file that ASE reads.
    pulled : (int, int) or None
        The two pulled atoms, counted from 1; None if no two atoms are pulled.
    min_distance : float, Å
        Atoms nearer than this are refused.
    charge, multiplicity : int, optional
        What the molecule has if the file states none (`electronic_state`); by default it is neutral
        with the lowest multiplicity.
    periodic : bool
        Whether it may be a cell with any periodic directions; otherwise a molecule is expected.

    Returns
    -------
    Atoms
        Without calculator and without extra arrays; `info` states its charge and multiplicity.

    Raises
    ------
    ConfigError
        If the file cannot be read, holds no atoms or unknown elements, is periodic, has two atoms
        on top of each other, lacks one of the pulled atoms, or contradicts itself in its charge or
        multiplicity.
    """
    atoms = _read(path)
    _check(atoms, path, min_distance, periodic=periodic)
    for index in pulled or ():
        if index > len(atoms):
            raise ConfigError(
                f"atoms = {list(pulled or ())}: expected two of the {len(atoms)} atoms of {path},"
                f" counted from 1, got atom {index} ([pull])"
            )
    molecule = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    if atoms.pbc.any():
        molecule.cell, molecule.pbc = atoms.cell, atoms.pbc
    try:
        check_whole(atoms)
        state = state_of(atoms, charge=charge, multiplicity=multiplicity)
    except AlrareError as error:
        raise ConfigError(f"structure = '{path}': {error}") from error
    return with_state(molecule, state)


def check_timestep(timestep: float, atoms: Atoms) -> None:
    """Refuse an MD time step that cannot follow the fastest vibration of a molecule.

    Bonds of hydrogen vibrate with a period of 9 fs or more, and velocity Verlet needs several steps
    for a period: at most 2 fs with hydrogen. Without it the stiffest bonds have 14 fs (N2), and
    noble gases far more: at most 10 fs, since no structure tells its softest use.

    Parameters
    ----------
    timestep : float, fs
    atoms : Atoms

    Raises
    ------
    ConfigError
        If the time step is larger.
    """
    hydrogen = 1 in atoms.numbers
    largest = 2.0 if hydrogen else 10.0
    if timestep > largest:
        why = "bonds of hydrogen vibrate in 9 fs" if hydrogen else "bonds vibrate in 14 fs or more"
        raise ConfigError(
            f"timestep = {timestep:g}: expected at most {largest:g} fs, since {why} and a pull with"
            " a longer step blows up or is wrong; 0.5 fs is the default"
        )


def elements_of(*structures: Atoms) -> list[str]:
    """Return the elements of structures, sorted by atomic number, as a model lists them.

    Examples
    --------
    >>> elements_of(Atoms("CH4"), Atoms("OH"))
    ['H', 'C', 'O']
    """
    numbers = {number for atoms in structures for number in atoms.numbers.tolist()}
    return [chemical_symbols[number] for number in sorted(numbers)]


def closest_pair(atoms: Atoms) -> tuple[float, int, int]:
    """Return the smallest interatomic distance in Å and the two atoms, counted from 0.

    The nearest periodic images are used; twice the same atom: it is nearest to its own image. A
    molecule of one atom gives infinity.
    """
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, _nearest_own_image(atoms))
    first, second = np.unravel_index(np.argmin(distances), distances.shape)
    return float(distances[first, second]), int(first), int(second)


def pair_name(first: int, second: int) -> str:
    """Return what messages call the two atoms of `closest_pair`."""
    if first == second:
        return f"atom {first + 1} and its own periodic image"
    return f"atoms {first + 1} and {second + 1}"


def _nearest_own_image(atoms: Atoms) -> float:
    """Return the distance of an atom from its nearest periodic image, Å."""
    if not atoms.pbc.any():
        return np.inf
    shortest, _ = minkowski_reduce(atoms.cell, atoms.pbc)
    return float(np.linalg.norm(shortest[atoms.pbc], axis=1).min())


def _read(path: Path) -> Atoms:
    if path.is_dir():
        raise ConfigError(f"structure = '{path}': expected a file that ASE reads, got a folder")
    if not path.is_file():
        raise ConfigError(
            f"structure = '{path}': no such file (paths in al.toml are relative to it)"
        )
    try:
        atoms = read(path, parallel=False)
    except Exception as error:  # ASE's readers raise anything
        raise ConfigError(
            f"structure = '{path}': expected a file that ASE reads (.xyz, .cif, .gen, ...),"
            f" got: {error or type(error).__name__}"
        ) from error
    if not isinstance(atoms, Atoms) or len(atoms) == 0:
        raise ConfigError(f"structure = '{path}': expected a molecule, got a file without atoms")
    return atoms


def _check(atoms: Atoms, path: Path, min_distance: float, *, periodic: bool) -> None:
    if not np.isfinite(atoms.positions).all():
        raise ConfigError(f"structure = '{path}': a position is not a finite number")
    if 0 in atoms.numbers:
        index = atoms.numbers.tolist().index(0) + 1
        raise ConfigError(f"structure = '{path}': atom {index} has no known element")
    if atoms.pbc.any() and not periodic:
        raise ConfigError(
            f"structure = '{path}': expected a molecule without periodic boundaries, got"
            f" pbc = {atoms.pbc.tolist()}; remove the cell from the file, or drive the cell by an"
            " input of [[explore]]"
        )
    nearest, first, second = closest_pair(atoms)
    if nearest < min_distance:
        raise ConfigError(
            f"structure = '{path}': {pair_name(first, second)} are {nearest:.3f} Å apart,"
            f" expected at least {min_distance} Å (min_distance in [labeller])"
        )
