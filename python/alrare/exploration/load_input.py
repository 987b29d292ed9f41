"""An input of `[[explore]]`, read and checked as far as that goes without LAMMPS."""

import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from ..config import Explore
from ..errors import ConfigError
from ..selection.settings import CANDIDATES_FILE
from .input_contract import (
    POTENTIAL_FILE,
    SEEDS,
    SYSTEM_FILE,
    WATCH_FILE,
    check_contract,
    without_comments,
)
from .input_run import STRUCTURE_FILE, TABLE_FILE, InputRun
from .lammps_input import DATA_FILE, DUMP_FILE

_TAKEN = (
    "in.trial",
    SYSTEM_FILE, POTENTIAL_FILE, WATCH_FILE, STRUCTURE_FILE, TABLE_FILE, DATA_FILE, DUMP_FILE,
    CANDIDATES_FILE, "trajectory.extxyz", "log.lammps", "result.json", "settings.json",
    "labels.journal", "progress", "labeller",
)  # fmt: skip
"""Names of other files in the folder of a run."""


def load_input(
    explore: Explore,
    groups: Mapping[str, tuple[int, ...]],
    *,
    n_atoms: int,
    min_distance: float,
    timestep: float = 0.5,
) -> InputRun:
    """Read an input and the files beside it, and check what can be checked without LAMMPS.

    Parameters
    ----------
    explore : Explore
    groups : mapping from str to tuple of int
        Named groups of atoms, from 1.
    n_atoms : int
        Number of atoms of the system.
    min_distance : float, Å
    timestep : float, fs
        Of the MD.

    Raises
    ------
    ConfigError
        If a file is missing, the input does not keep the contract, a variable is not used, or a
        group names an atom that is not there.
    """
    if explore.shipped is not None:
        name = f"in.{explore.shipped}"
        source = resources.files(__package__) / "inputs" / name
        texts = {name: source.read_text(encoding="utf-8")}
    else:
        texts = {explore.input.name: _text(explore.input, "input")}
    for path in explore.files:
        if path.name in texts:
            raise ConfigError(f"files: {path.name}: given twice; rename one ([[explore]])")
        texts[path.name] = _text(path, "files")
    for name in texts:
        if name in _TAKEN:
            raise ConfigError(
                f"{name}: this name is taken in the folder of a run; rename the file ([[explore]])"
            )
    main, *others = texts
    check_contract(main, texts[main], [texts[name] for name in others], explore.variables)
    for variable in explore.variables:
        used = rf"\$\{{{variable}\}}|\$\({variable}\)|\bv_{variable}\b|variable\s+{variable}\b"
        if variable in SEEDS:
            raise ConfigError(
                f"variables.{variable}: alrare sets this one, a number for each of `seeds`;"
                " remove it ([[explore]])"
            )
        if not any(re.search(used, without_comments(text)) for text in texts.values()):
            raise ConfigError(
                f"variables.{variable}: {next(iter(texts))} uses no ${{{variable}}}; correct the"
                " name, or remove it ([[explore]])"
            )
    for group, atoms in groups.items():
        if max(atoms) > n_atoms:
            raise ConfigError(
                f"groups.{group}: expected atoms of the {n_atoms} of the structure, counted from"
                f" 1, got {max(atoms)}"
            )
    if explore.shipped == "pull":
        _check_pulled_groups(explore, groups)
        _check_pull(explore)
    return InputRun(explore, texts, groups, min_distance, timestep)


def _check_pulled_groups(explore: Explore, groups: Mapping[str, tuple[int, ...]]) -> None:
    given = explore.variables
    pulled = [str(given.get("first", "head")), str(given.get("second", "tail"))]
    for name in pulled:
        if name not in groups:
            raise ConfigError(
                f"groups: the pull needs two groups of atoms, {' and '.join(pulled)}, and {name} is"
                " not there; name them beside the structure: groups = { head = [1], tail = [6] }"
            )
    if pulled[0] == pulled[1]:
        raise ConfigError(
            f"variables: expected two groups as first and second, got {pulled[0]} twice"
            " ([[explore]])"
        )
    both = sorted(set(groups[pulled[0]]) & set(groups[pulled[1]]))
    if both:
        raise ConfigError(f"groups: atom {both[0]} is in {pulled[0]} and in {pulled[1]}")


def _check_pull(explore: Explore) -> None:
    """Refuse variables of the shipped pull that LAMMPS would take for something else."""
    given = explore.variables
    along = given.get("along", "line")
    if along not in ("line", "x", "y", "z"):
        raise ConfigError(
            f"variables.along: expected line, x, y or z, got {along} ([[explore]] pull)"
        )
    for name, least in (
        ("rate", None), ("tension", None), ("spring", 0.0), ("temperature", 0.0), ("steps", 1.0),
        ("relax_steps", 0.0),
    ):  # fmt: skip
        try:
            number = float(given.get(name, 1.0))
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (least is not None and number < least):
            expected = "a number" if least is None else f"a number of at least {least:g}"
            raise ConfigError(
                f"variables.{name}: expected {expected}, got {given[name]} ([[explore]] pull)"
            )


def _text(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(
            f"{key} = '{path}': cannot be read ({reason}); expected a text file, its path relative"
            " to al.toml ([[explore]])"
        ) from error
