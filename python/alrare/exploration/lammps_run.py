"""Running LAMMPS as a separate program, with live progress."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ..config import Run
from ..errors import BlownUpError, SimulationError
from ..processes import start
from .lammps_input import INPUT_FILE

_BLOWN_UP = re.compile(
    # of the fix in `lammps_input` that stops such a run, of LAMMPS, and of the pair style
    r"structure_blew_up|atoms_collided|halt condition|Domain too large|Lost atoms|Non-numeric"
    r"|unstable|blew up|not a number|at the same place|not finite|non-finite|\bnan\b|neighbor bins"
    r"|neighbor list overflow|out of range atoms",
    re.IGNORECASE,
)
"""Error messages that mean that the structure has blown up."""
_LAST_LINES = 12  # of the log, shown when a run fails


def lammps_command(lmp: str, ranks: int, launcher: str = Run().launcher) -> list[str]:
    """Return the command that starts LAMMPS on a number of MPI ranks; more than 1 by a launcher."""
    program = find_program(lmp)
    if ranks == 1:
        return [program]
    first, *words = shlex.split(launcher.replace("{ranks}", str(ranks)))
    return [find_program(first), *words, program]


def find_program(name: str) -> str:
    """Return the path of a program: beside the running Python, or on PATH, or `name` itself.

    The folder of the Python interpreter comes first, since its environment holds the LAMMPS that
    alrare was built for, even if it is not activated. A name with a slash is not changed.
    """
    beside = Path(sys.executable).parent
    return shutil.which(name, path=beside) or shutil.which(name) or name


def run_lammps(
    command: Sequence[str],
    *,
    folder: Path,
    input_file: str = INPUT_FILE,
    on_step: Callable[[int], None] = lambda done: None,
    on_start: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
) -> None:
    """Run an input in its folder to its end; `log.lammps` stays there.

    LAMMPS and everything it started end if this thread is interrupted or this process dies.

    Parameters
    ----------
    command : sequence of str
        Result of `lammps_command`.
    folder : Path
        Holds the input and receives all output.
    input_file : str
        File name of the input.
    on_step : callable
        Called with the number of MD steps done so far, over all `run` commands.
    on_start : callable
        Called with the process, so that another thread can end it with `end_process`.

    Raises
    ------
    BlownUpError
        If LAMMPS ended because the structure blew up.
    SimulationError
        If LAMMPS is missing or ends with another error, which the message repeats.
    """
    words = [*command, "-in", input_file, "-log", "log.lammps", "-nocite"]
    try:
        process = start(
            words,
            folder=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            leads_group=True,
            end_signal=signal.SIGTERM,  # mpiexec ends its ranks when it is asked to end
        )
    except FileNotFoundError as error:
        raise SimulationError(
            f"{error.filename}: no such program; set `lmp` in [run] of al.toml to a LAMMPS that"
            " knows nnp_ensemble and al_select (`alrare check` tells)"
        ) from error
    except PermissionError as error:
        raise SimulationError(f"{command[0]}: not a program that may be run") from error
    last: deque[str] = deque(maxlen=_LAST_LINES)
    steps = _StepCounter()
    assert process.stdout is not None
    try:
        on_start(process)
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            last.append(line.rstrip())
            done = steps.read(line)
            if done is not None:
                on_step(done)
        status = process.wait()
    finally:
        end_process(process)
        process.stdout.close()
    if status != 0:
        raise _error(status, words, folder, list(last))


class _StepCounter:
    """Counts the MD steps of all runs of an input from the thermo lines that LAMMPS prints."""

    def __init__(self) -> None:
        self._table = False
        self._before = 0
        self._now = 0

    def read(self, line: str) -> int | None:
        words = line.split()
        if words[:2] == ["Step", "Temp"]:
            self._table = True
            self._before, self._now = self._before + self._now, 0
        elif line.startswith("Loop time"):
            self._table = False
        elif self._table and words and words[0].isdigit():
            self._now = int(words[0])
            return self._before + self._now
        return None


def _error(status: int, words: list[str], folder: Path, last: list[str]) -> SimulationError:
    if not any(last):
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return no_lammps(f"{words[0]} failed in {folder}: {how}, no output", folder)
    errors = [line for line in last if line.startswith("ERROR")]
    reason = errors[0] if errors else "\n".join(last[-4:])
    kind = SimulationError
    if _BLOWN_UP.search(reason):
        kind = BlownUpError
        reason = f"the structure blew up or is no longer a number ({reason})"
    elif "Unrecognized pair style" in reason or "Unrecognized fix style" in reason:
        reason += "; this LAMMPS does not load the alrare plugin: `alrare check` says why"
    return kind(f"{words[0]} failed in {folder}: {reason} (whole log: {folder / 'log.lammps'})")


def no_lammps(what: str, folder: Path) -> SimulationError:
    """Return the error for a program that did not do what LAMMPS does."""
    log = folder / "log.lammps"
    state = "missing" if not log.is_file() else "there" if log.stat().st_size else "empty"
    return SimulationError(
        f"{what}; its log {log} is {state}. If it is not LAMMPS, set `lmp` in [run] or --lmp to a"
        " LAMMPS that knows nnp_ensemble and al_select (`alrare check` tells)"
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a run and everything it started; do nothing if it has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
