"""A trial of an input before anything is computed: LAMMPS reads it whole, and does no step."""

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

from ase import Atoms

from ..config import Config
from ..errors import ConfigError, SimulationError
from ..files import write_text
from .exploration import Exploration, SpringPull
from .lammps_input import DUMP_FILE
from .lammps_run import end_process, find_program, lammps_command, run_lammps
from .observables import read_trajectory
from .table import last_row

_TRIAL = "in.trial"
_LONGEST = 60.0  # s; an input whose loops wait for something that needs steps


def try_exploration(
    exploration: Exploration, structure: Atoms, elements: Sequence[str], config: Config
) -> str:
    """Let LAMMPS read an input of `[[explore]]` without forces and without doing a step.

    Commands, variables, groups and columns that LAMMPS does not understand are found in a second,
    not after the labeller's first run. Nothing is tested if there is no LAMMPS.

    Parameters
    ----------
    exploration : Exploration
        A pull is not tried: its input is alrare's own.
    structure : Atoms
    elements : sequence of str
        Element of each atom type.
    config : Config

    Returns
    -------
    str
        A sentence if the input could not be tried to its end, else empty.

    Raises
    ------
    ConfigError
        With what LAMMPS says.
    """
    if isinstance(exploration, SpringPull):
        return ""
    files = exploration.files(
        structure,
        elements,
        seed=exploration.seeds[0],
        timestep=config.timestep,
        potential="pair_style zero 5.0 full\npair_coeff * *",
        select=None,
        by_model=False,
    )
    late = False

    def stop(process: "Popen[bytes]") -> None:
        nonlocal late
        late = True
        end_process(process)

    timers: list[threading.Timer] = []

    def begin(process: "Popen[bytes]") -> None:
        timers.append(threading.Timer(_LONGEST, stop, [process]))
        timers[0].start()

    program = find_program(config.run.lmp)
    with tempfile.TemporaryDirectory(prefix="alrare-") as scratch:
        folder = Path(scratch)
        for name, text in files.items():
            write_text(folder / name, text)
        # -skiprun leaves out every run; the last one evaluates the columns once
        write_text(folder / _TRIAL, f"include {exploration.main}\ntimer timeout off\nrun 0\n")
        try:
            run_lammps(
                [*lammps_command(program, 1), "-skiprun"],
                folder=folder,
                input_file=_TRIAL,
                on_start=begin,
            )
        except SimulationError as error:
            if late:
                return (
                    f"{exploration.main} was not tried to its end: a loop in it seems to wait for"
                    " steps"
                )
            if not (folder / "log.lammps").is_file():
                return ""
            reason = _said(folder / "log.lammps") or str(error)
            raise ConfigError(f"{exploration.main}: LAMMPS refuses it: {reason}") from error
        finally:
            for timer in timers:
                timer.cancel()
        row = last_row(folder / exploration.quantity.table)  # of step 0: no run makes a step here
        dump = folder / DUMP_FILE
        frames = read_trajectory(dump) if dump.is_file() else []
        if frames and len(frames[0]) != len(structure):
            raise ConfigError(
                f"{exploration.main}: expected the {len(structure)} atoms of the structure, got"
                f" {len(frames[0])} after `include watch.lmp`; put all atoms into the structure"
            )
    if row is None:
        did = exploration.unfinished(None)
        raise ConfigError(f"{exploration.main}: LAMMPS ends {did}; is the include reached?")
    return ""


def _said(log: Path) -> str:
    """Return the error of LAMMPS with the command that it is about."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("ERROR"):
            command = next((one for one in lines[number:] if one.startswith("Last")), "")
            return f"{line}; {command}".strip("; ")
    return ""
