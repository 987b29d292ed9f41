"""Complete LAMMPS inputs for pulls and MD, and the data file of the molecule.

Labeller and model pull with the same input, so that with the same seed they start from the same
velocities and, with Langevin, feel the same noise: atoms are never sorted, and on one rank LAMMPS
draws the random numbers in the order of the data file.

The pull itself is `fix smd cvel ... couple auto auto auto 0.0`. LAMMPS sets its target to the
distance of the two atoms when the run begins and moves it by rate · dt after each force. The force
on the fix group, f[4], and the accumulated work, f[7], are negative when the spring pulls the atoms
apart. Only `pull_input` deals with these signs and with the moving target.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from ..config import Pull
from ..errors import AlrareError
from ..files import write_text
from ..model.species import species_of

DATA_FILE = "molecule.data"
"""File name of the structure beside each input."""
INPUT_FILE = "in.smd"
"""File name of the input: `lmp -in in.smd` in its folder repeats the run."""
WORK_FILE = "work.dat"
"""File name of the work curve of a pull."""
DUMP_FILE = "trajectory.lammpstrj"
"""File name of the trajectory of a model's pull, which `read_trajectory` reads."""
TRAJECTORY_STRIDE = 10
"""Pulls of models and of the labeller write every tenth configuration."""

_MARGIN = 10.0  # Å around a molecule: the smallest box; it grows with the atoms
_HOTTEST = 1e5  # K; a molecule that is hotter (or at NaN) has blown up


def write_data_file(path: Path, atoms: Atoms, elements: Sequence[str]) -> None:
    """Write the structure of a pull or an MD; see `data_text`.

    Parameters
    ----------
    path : Path
        File to make.
    atoms : Atoms
        A molecule without periodic directions, or a cell that is lower triangular, as LAMMPS
        requires (`lammps_box.box_of`).
    elements : sequence of str
        Element of each atom type, in the order of the model.

    Raises
    ------
    ModelError
        If an element is not listed.
    AlrareError
        If LAMMPS cannot use the cell.
    """
    write_text(path, data_text(atoms, elements))


def data_text(atoms: Atoms, elements: Sequence[str]) -> str:
    """Return a data file for `atom_style atomic`; atom IDs are the order of the atoms, from 1.

    Parameters
    ----------
    atoms : Atoms
        With a cell that LAMMPS takes (`lammps_box.box_of`).
    elements : sequence of str
        Element of each atom type; the masses in the file are theirs.

    Raises
    ------
    ModelError
        If an element is not listed.
    AlrareError
        If LAMMPS cannot use the cell.
    """
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    if np.abs(cell[np.triu_indices(3, 1)]).max() > 1e-9:
        raise AlrareError(
            "structure: expected a molecule (pbc off) or a lower triangular cell, got pbc"
            f" {list(atoms.pbc)}, cell {cell.tolist()}"
        )
    types = species_of(atoms, elements) + 1
    lines = ["# written by alrare; units: angstrom, g/mol", ""]
    lines += [f"{len(atoms)} atoms", f"{len(elements)} atom types", "", *_box(atoms), ""]
    lines += ["Masses", ""]
    for kind, element in enumerate(elements, start=1):
        lines.append(f"{kind} {atomic_masses[atomic_numbers[element]]:.6f}  # {element}")
    lines += ["", "Atoms # atomic", ""]
    for tag, (kind, position) in enumerate(zip(types, atoms.positions, strict=True), start=1):
        x, y, z = (f"{value:.15g}" for value in position)
        lines.append(f"{tag} {kind} {x} {y} {z}")
    return "\n".join(lines) + "\n"


def _box(atoms: Atoms) -> list[str]:
    low, high = atoms.positions.min(axis=0) - _MARGIN, atoms.positions.max(axis=0) + _MARGIN
    tilt = np.zeros(3)
    if atoms.pbc.any():
        cell = atoms.cell.array
        low, high = np.where(atoms.pbc, 0.0, low), np.where(atoms.pbc, np.diag(cell), high)
        tilt = cell[[1, 2, 2], [0, 0, 1]]
    lines = [
        f"{a:.15g} {b:.15g} {axis}lo {axis}hi" for a, b, axis in zip(low, high, "xyz", strict=True)
    ]
    return lines + (["{:.15g} {:.15g} {:.15g} xy xz yz".format(*tilt)] if tilt.any() else [])


def pull_input(
    *,
    potential: str,
    pull: Pull,
    seed: int,
    timestep: float,
    watch: str = "",
    columns: Mapping[str, str] | None = None,
    dump_elements: Sequence[str] = (),
    pbc: Iterable[bool] = (False, False, False),
    thermo_every: int = 100,
) -> str:
    """Return the text of `in.smd`: relaxation with the thermostat alone, then the pull.

    The run reads `molecule.data` and writes `work.dat` in its own folder. Steps count from 0
    where the pull begins.

    Parameters
    ----------
    potential : str
        Commands that define the forces (`pair_style ...`, `pair_coeff ...`), after `read_data`.
    pull : Pull
        Spring, rate, thermostat and number of steps of both parts.
    seed : int
        Seed of the initial velocities and, with Langevin, of the noise.
    timestep : float
        MD time step, fs.
    watch : str
        Commands to insert before the work file is defined, for instance `fix al_select`. They may
        use the equal-style variable `v_d`, the distance of the pulled atoms in Å; `columns` may
        refer to values that they compute at the same step.
    columns : mapping of str to str
        Further columns of the work file: `{"energy_std/eV": "c_uq[1]"}`. A compute named here
        must be defined in `potential`.
    dump_elements : sequence of str
        Element of each atom type. The pull then writes every `TRAJECTORY_STRIDE`-th configuration,
        from step 0, to `trajectory.lammpstrj`; without elements it writes none.
    pbc : iterable of bool
        Whether the structure is periodic along x, y and z. In the other directions the box follows
        the atoms, so that none is lost.
    thermo_every : int
        Steps between two lines of the log, from which `run_lammps` reads the number of steps done.
    """
    rate = f"{pull.rate:.10g}"
    shown = {
        "step": "$(step)",
        "distance/angstrom": "${d}",
        "target/angstrom": "${target}",
        "force/(eV/angstrom)": "${force}",
        "work/eV": "${work}",
        "potential_energy/eV": "$(c_thermo_pe:%.10g)",
        "temperature/K": "$(c_thermo_temp:%.6g)",
    } | {name: f"$({value}:%.8g)" for name, value in (columns or {}).items()}
    first, second = pull.atoms
    steps = [
        f"# pull of atoms {first} and {second}, seed {seed}",
        *_system(potential, pull.temperature, seed, timestep, pbc),
        *_thermostat(pull.thermostat, pull.temperature, pull.damping_time, seed),
        *thermo_commands(thermo_every, ""),
        f"run {pull.relax_steps}",
        "",
        "# the pull: W = -f_pull[7] and tension = -f_pull[4] (fix smd counts both as negative);",
        "# f_pull[5] is the target of the next step",
        "reset_timestep 0",
        f"group pulled_a id {first}",
        f"group pulled_b id {second}",
        f"fix pull pulled_a smd cvel {pull.spring:.10g} {rate} couple pulled_b auto auto auto 0.0",
        "variable d equal f_pull[6]",
        f"variable target equal f_pull[5]-{rate}*dt",
        "variable force equal -f_pull[4]",
        "variable work equal -f_pull[7]",
        *watch.strip().splitlines(),
        f'fix work all print 1 "{" ".join(shown.values())}" file {WORK_FILE} screen no'
        f' title "# {" ".join(shown)}"',
        *dump_commands(dump_elements),
        *thermo_commands(thermo_every, "v_d v_work"),
        f"run {pull.steps}",
    ]
    return "\n".join(steps) + "\n"


def md_input(
    *,
    potential: str,
    temperature: float,
    damping_time: float,
    seed: int,
    timestep: float,
    equilibration_steps: int,
    steps: int,
    pbc: Iterable[bool] = (False, False, False),
    thermo_every: int = 100,
) -> str:
    """Return the text of an MD at constant temperature (Langevin).

    Parameters
    ----------
    potential : str
        As in `pull_input`.
    temperature, damping_time, timestep : float
        K, ps, fs.
    seed : int
        Seed of velocities and noise.
    equilibration_steps, steps : int
        Steps before and after `reset_timestep 0`.
    pbc : iterable of bool
        As in `pull_input`.
    thermo_every : int
        Steps between two lines of the log.
    """
    lines = [
        f"# MD at {temperature:g} K, seed {seed}",
        *_system(potential, temperature, seed, timestep, pbc),
        *_thermostat("langevin", temperature, damping_time, seed),
        *thermo_commands(thermo_every, ""),
        f"run {equilibration_steps}",
        "reset_timestep 0",
        f"run {steps}",
    ]
    return "\n".join(lines) + "\n"


def _system(
    potential: str, temperature: float, seed: int, timestep: float, pbc: Iterable[bool]
) -> list[str]:
    return [
        *system_commands(DATA_FILE, pbc),
        *potential.strip().splitlines(),
        f"timestep {timestep * 1e-3:.10g}",
        f"velocity all create {temperature:.10g} {random_seed(seed, 0)} mom yes rot yes"
        " dist gaussian loop all",
        "",
        *halt_commands(),
        "",
    ]


def system_commands(data_file: str, pbc: Iterable[bool]) -> list[str]:
    """Return the commands that read a structure.

    Parameters
    ----------
    data_file : str
    pbc : iterable of bool
        As in `pull_input`.
    """
    return [
        "units metal",
        "atom_style atomic",
        "atom_modify map yes sort 0 0.0",
        f"boundary {' '.join('p' if periodic else 'm' for periodic in pbc)}",
        f"read_data {data_file}",
        "neighbor 2.0 bin",
        "neigh_modify every 1 delay 0 check yes",
    ]


def halt_commands(min_distance: float | None = None) -> list[str]:
    """Return the commands that end a run with an error when its structure has blown up.

    Parameters
    ----------
    min_distance : float, optional, Å
        The run also ends when two atoms are closer than this; not tested by default.
    """
    commands = [
        "# ends the run when the structure has blown up or is no longer a number",
        f'variable blown_up equal "!(c_thermo_temp < {_HOTTEST:g})"',
        "fix structure_blew_up all halt 10 v_blown_up != 0 error hard",
    ]
    if min_distance is None:
        return commands
    return [
        *commands,
        f"# ends the run when two atoms are closer than {min_distance:g} angstrom",
        "compute pair_distances all pair/local dist",
        "compute closest_pair all reduce min c_pair_distances inputs local",
        "variable closest_pair equal c_closest_pair",
        f"fix atoms_collided all halt 10 v_closest_pair < {min_distance:.10g} error hard",
    ]


def _thermostat(kind: str, temperature: float, damping_time: float, seed: int) -> list[str]:
    span = f"{temperature:.10g} {temperature:.10g} {damping_time:.10g}"
    if kind == "langevin":
        return ["fix move all nve", f"fix bath all langevin {span} {random_seed(seed, 1)}"]
    return ["fix move all nve", f"fix bath all temp/berendsen {span}"]


def dump_commands(elements: Sequence[str]) -> list[str]:
    """Return the commands that write every `TRAJECTORY_STRIDE`-th configuration.

    Parameters
    ----------
    elements : sequence of str
        Element of each atom type; none: no configurations.
    """
    if not elements:
        return []
    return [
        f"dump trajectory all custom {TRAJECTORY_STRIDE} {DUMP_FILE} id element xu yu zu",
        f"dump_modify trajectory element {' '.join(elements)} sort id format float %.10g",
    ]


def thermo_commands(every: int, extra: str) -> list[str]:
    """Return the commands that print a line of the log every so many steps."""
    return [
        f"thermo {every}",
        f"thermo_style custom step temp pe {extra}".rstrip(),
        "thermo_modify flush yes",
    ]


def random_seed(seed: int, stream: int) -> int:
    """Return a seed for LAMMPS's generators, which start similarly for neighboring seeds.

    Parameters
    ----------
    seed : int
        Seed of a run.
    stream : int
        0 for the velocities, 1 for a thermostat.

    Returns
    -------
    int
        From 1 to 900,000,000, as LAMMPS needs.
    """
    return 1 + (12345 * seed + 271828183 * stream) % 899_999_963
