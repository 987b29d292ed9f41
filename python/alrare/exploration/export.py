"""A folder that runs a structure with a model in LAMMPS: nobody has to know the types' order."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms

from ..electronic_state import check_whole
from ..errors import AlrareError, disk_error
from ..files import PathLike, atomic_path, file_hash, write_text
from ..model.engine import lammps_file
from ..model.ensemble import load_ensemble
from ..model.species import finite_positions, species_of
from ..model.trained_states import check_state
from .lammps_box import box_of
from .lammps_input import data_text

MODEL_NAME = "ensemble"
"""File name of the copy of the model, without its suffix: .pt if LAMMPS runs it by libtorch."""
STRUCTURE_FILE = "structure.data"
"""File name of the structure, with the masses of its atom types."""
POTENTIAL_FILE = "potential.lmp"
"""File name of the commands that define the forces and their uncertainty."""
MD_FILE = "in.md"
"""File name of the input that reads both."""

_POTENTIAL = """\
# {members} networks for the atom types of {structure}: {types}
# include this file after read_data, in units metal
pair_style nnp_ensemble forces {forces}
pair_coeff * * {model} {elements}

# c_uq[1]: uncertainty of the energy, the standard deviation of the networks, eV
compute uq all pair nnp_ensemble
"""
_MD = """\
# {formula} at 300 K; run it in this folder: lmp -in {md}
units metal            # eV, angstrom, ps, K
atom_style atomic
boundary {boundary}         # p: periodic, m: follows the atoms
read_data {structure}
include {potential}

timestep {timestep}        # ps
velocity all create 300.0 1 mom yes rot yes dist gaussian
fix move all nve
fix bath all langevin 300.0 300.0 0.1 1

thermo 100
thermo_style custom step temp pe c_uq[1]
dump trajectory all custom 100 trajectory.lammpstrj id element xu yu zu
dump_modify trajectory element {elements} sort id
run 1000
"""


def export_lammps(
    model: PathLike,
    structure: Atoms,
    folder: PathLike,
    *,
    forces: Literal["best", "mean"] = "mean",
    overwrite: bool = False,
) -> Path:
    """Write a folder that runs a structure with a model in LAMMPS, for production.

    It holds a copy of the model, `structure.data`, `potential.lmp` and the input `in.md`, which
    runs as it is. The atom types are the elements of the structure, in the order of the model. A
    cell of another form than LAMMPS takes is rotated, with the atoms in it, or described by other
    vectors of the same lattice.

    Parameters
    ----------
    model : Path or str
        Folder of the model, or one of its two files.
    structure : Atoms
        A molecule, or a cell with any periodic directions; `info` states its charge and
        multiplicity if they are not those of the lowest neutral state.
    folder : Path or str
        Folder to make; other files in it are left alone.
    forces : {"best", "mean"}
        Whose forces move the atoms.
    overwrite : bool
        Replace files of these names that are different.

    Returns
    -------
    Path
        `in.md`.

    Raises
    ------
    AlrareError
        If the model does not fit the structure (its elements, or the charge and multiplicity that
        it was trained on), the cell is no cell, or a file would be replaced.
    """
    if not isinstance(structure, Atoms):
        raise AlrareError(
            f"export_lammps: structure: expected ase's Atoms, got {type(structure).__name__}"
        )
    folder, metadata = Path(folder), load_ensemble(model).metadata
    source = lammps_file(model)
    copy = folder / f"{MODEL_NAME}{source.suffix}"
    formula = structure.get_chemical_formula()
    finite_positions(structure)
    check_whole(structure)
    species = species_of(structure, metadata.elements)
    check_state(structure, metadata.training, formula)
    elements = [metadata.elements[k] for k in np.unique(species)]
    names = {
        "model": copy.name, "structure": STRUCTURE_FILE, "potential": POTENTIAL_FILE,
        "md": MD_FILE, "elements": " ".join(elements), "forces": forces, "formula": formula,
        "members": metadata.members,
        "types": ", ".join(f"{k} = {element}" for k, element in enumerate(elements, start=1)),
        "boundary": " ".join("p" if periodic else "m" for periodic in structure.pbc),
        "timestep": "0.0005" if "H" in elements else "0.001 ",
    }  # fmt: skip
    texts = {
        STRUCTURE_FILE: data_text(box_of(structure), elements),
        POTENTIAL_FILE: _POTENTIAL.format(**names),
        MD_FILE: _MD.format(**names),
    }
    _refuse_others(copy, source, texts, overwrite=overwrite)
    if not _is_copy(copy, source):
        with atomic_path(copy) as partial:
            shutil.copyfile(source, partial)
    for name, text in texts.items():
        write_text(folder / name, text)
    return folder / MD_FILE


def _refuse_others(copy: Path, source: Path, texts: dict[str, str], *, overwrite: bool) -> None:
    """Refuse to replace a file that holds something else, before anything is written."""
    folder = copy.parent
    if folder.exists() and not folder.is_dir():
        raise AlrareError(f"{folder}: expected a folder to write to, got a file")
    try:
        other = [
            name
            for name, text in texts.items()
            if (folder / name).exists() and (folder / name).read_bytes() != text.encode()
        ]
        if copy.exists() and not _is_copy(copy, source):
            other.append(copy.name)
    except OSError as error:
        raise disk_error(folder, error) from error
    if other and not overwrite:
        raise AlrareError(
            f"{folder}: {', '.join(other)} would be replaced by another; give another folder, or"
            " --overwrite (overwrite=True in Python)"
        )


def _is_copy(path: Path, source: Path) -> bool:
    return path.is_file() and file_hash(path) == file_hash(source)
