"""The settings that the folder of a pull keeps, compared with those that are wanted now."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..config import Config, Pull
from ..errors import AlrareError
from .lammps_input import DATA_FILE, INPUT_FILE, pull_input
from .observables import thermal_noise

_IN_INPUT = {
    "atoms": r"^# pull of atoms (\d+ and \d+),",
    "spring": r"^fix pull .* cvel (\S+) ",
    "rate": r"^fix pull .* cvel \S+ (\S+) ",
    "temperature": r"^velocity all create (\S+) ",
    "thermostat": r"^fix bath all (?:temp/)?(\w+) ",
    "zero of fix langevin": r"^fix bath all langevin .* zero (\w+)",  # of older versions
    "damping_time": r"^fix bath all \S+ \S+ \S+ (\S+)",
    "timestep": r"^timestep (\S+)",
    "relax_steps": r"\A(?s:.*?)^run (\d+)",
    "steps": r"^run (\d+)\s*\Z",
}
"""Where an input written by `pull_input` has the settings of a pull."""
_BY_LABELLER = re.compile(
    r"^pair_style labeller .*\npair_coeff \* \* .*\n"
    # of versions that ran LAMMPS inside Python
    r"|^# the labeller's forces come in from outside.*\npair_style zero 5\.0\npair_coeff \* \*\n"
    r"fix labeller all external pf/callback 1 1\nfix_modify labeller energy yes\n",
    re.MULTILINE,
)
"""The commands by which the labeller's forces come into an input."""
SAME_PLACE = 1e-3
"""Å; distances that differ by more are those of another configuration."""


def settings_of_input(text: str) -> dict[str, str]:
    """Return the settings of a pull, but its seed, from its LAMMPS input; the time step in ps."""
    found = {key: re.search(rule, text, re.MULTILINE) for key, rule in _IN_INPUT.items()}
    return {key: match.group(1) for key, match in found.items() if match}


def pulled_atoms(folder: Path) -> tuple[int, ...]:
    """Return the pulled atoms, from 1, of a finished pull; none if its input is not there."""
    words = _settings_in(folder).get("atoms", "").split(" and ")
    return tuple(int(word) for word in words if word)


@dataclass(frozen=True)
class Conditions:
    """How a finished pull was made, as far as its observables need it."""

    timestep: float
    """fs."""
    noise: float
    """`observables.thermal_noise`, eV/Å."""
    steps: int | None
    """MD steps that it was to have; None if its input is not there."""


def conditions_of(folder: Path) -> Conditions:
    """Return how a finished pull was made; the defaults if its input is not there."""
    kept, pull = _settings_in(folder), Pull.model_fields
    timestep = float(kept["timestep"]) * 1e3 if "timestep" in kept else None
    return Conditions(
        timestep=timestep or Config.model_fields["timestep"].default,
        noise=thermal_noise(
            float(kept.get("spring", pull["spring"].default)),
            float(kept.get("temperature", pull["temperature"].default)),
        ),
        steps=int(kept["steps"]) if "steps" in kept else None,
    )


def _settings_in(folder: Path) -> dict[str, str]:
    path = folder / INPUT_FILE
    return settings_of_input(_read(path)) if path.is_file() else {}


def without_potential(text: str) -> str:
    """Return the LAMMPS input of a run by the labeller without the commands of its forces.

    They say nothing about the result, and are not the same in all versions of alrare.
    """
    return _BY_LABELLER.sub("", text)


def differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name the settings that differ, with both values: `rate (1.0, now 2.0)`."""
    return [
        f"{key} ({kept.get(key)}, now {wanted.get(key)})"
        for key in dict.fromkeys((*wanted, *kept))
        if kept.get(key) != wanted.get(key)
    ]


def made_otherwise(path: Path, what: Sequence[str]) -> AlrareError:
    """Return the error for a finished result that was made with other settings."""
    return AlrareError(
        f"{path}: was made with another {', another '.join(what)}; remove it to make it again, or"
        " keep it and write elsewhere (`alrare smd`: another -o DIR; a campaign: another name)"
    )


def check_comparable(against: Path, *, structure: Atoms, pull: Pull, timestep: float) -> str:
    """Refuse to compare with pulls of other settings or another molecule.

    Parameters
    ----------
    against : Path
        Folder of the finished pulls.
    structure : Atoms
        The molecule to pull.
    pull : Pull
    timestep : float, fs

    Returns
    -------
    str
        A sentence if the pulls there start from another configuration of the molecule, else empty.

    Raises
    ------
    AlrareError
        If a setting differs, which the message names, or no seed is the same.
    """
    folders = [against / f"pull_{seed}" for seed in pull.seeds]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise AlrareError(
            f"{against}: holds no pull with one of the seeds {', '.join(map(str, pull.seeds))}, and"
            " pulls are compared seed by seed; give --seeds that are there"
        )
    text = pull_input(potential="", pull=pull, seed=pull.seeds[0], timestep=timestep)
    wanted = settings_of_input(text)
    apart = 0.0
    for folder in folders:
        what = differences(settings_of_input(_read(folder / INPUT_FILE)), wanted)
        symbols, positions = molecule_of(folder / DATA_FILE)
        if symbols != structure.get_chemical_symbols():
            there = Atoms(symbols).get_chemical_formula()
            what.append(f"molecule ({there}, now {structure.get_chemical_formula()}, or its order)")
        if what:
            raise AlrareError(
                f"{folder}: cannot be compared: it was pulled with another"
                f" {', another '.join(what)}; pull with the same settings"
            )
        change = structure.get_all_distances() - Atoms(symbols, positions).get_all_distances()
        apart = max(apart, float(np.abs(change).max()))
    if apart < SAME_PLACE:
        return ""
    return (
        f"the pulls in {against} start from another configuration of the molecule: distances of its"
        f" atoms differ by up to {apart:.3g} Å, which is part of the difference that is shown"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AlrareError(
            f"{path}: cannot be read ({error}), so nothing tells with what this pull was made;"
            " compare with a complete folder"
        ) from error


def molecule_of(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the symbols and the positions (N, 3), Å, of a file by `data_text`."""
    head, _, rows = _read(path).partition("Atoms # atomic")
    elements = dict(re.findall(r"^(\d+) \S+  # (\w+)$", head, re.MULTILINE))
    words = [row.split() for row in rows.splitlines() if row.strip()]
    try:
        symbols = [elements[row[1]] for row in words]
        return symbols, np.array([[float(x) for x in row[2:5]] for row in words])
    except (LookupError, ValueError) as error:
        raise AlrareError(f"{path}: expected a molecule written by alrare ({error})") from error
