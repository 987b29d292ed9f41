"""DFTB+ run once per label: the input, the run, and the check that the result is complete.

Each run has an empty folder, since DFTB+ leaves old output files in place when it fails. Exit
status and results.tag do not show whether the SCC converged, so the SCC line of detailed.out is
read too. The energy is the force-related (Mermin) one, whose negative gradient the forces are;
ASE's own Dftb calculator reads the internal energy instead.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ...config import Labeller
from ...electronic_state import state_of
from ...errors import LabelError
from ...processes import start
from ...units import BOHR, HARTREE
from ..failures import Kind, LabelFailure
from .method import PARSER_VERSION, hamiltonian, mixers

PROGRAM = "dftb+"
INSTALL = "install DFTB+ (for instance from conda-forge) so that `dftb+` is on PATH"

_REJECTED = (
    "SK file",
    "IO error in file",
    "Missing child",
    "errors in dftb_in",
    "Unexpected end of data",
    "No input file",
    "Invalid",
)


def run_once(labeller: Labeller, frame: Atoms, folder: Path) -> tuple[float, NDArray[np.float64]]:
    """Label one frame with one run of DFTB+, or more with other mixers if it does not converge.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    frame : Atoms
        N atoms.
    folder : Path
        Emptied first; input and output are kept there.

    Returns
    -------
    energy : float
        Force-related energy, eV.
    forces : (N, 3) array
        eV/Å.

    Raises
    ------
    LabelFailure
        Unless the label is complete.
    """
    *first, last = mixers(labeller)
    for mixer in first:
        try:
            return _run_with(mixer, labeller, frame, folder)
        except LabelFailure as failure:
            if failure.kind != "not_converged":
                raise
    return _run_with(last, labeller, frame, folder)


def _run_with(
    mixer: Sequence[str], labeller: Labeller, frame: Atoms, folder: Path
) -> tuple[float, NDArray[np.float64]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_input(labeller, frame, folder, driver="{}", results=True, mixer=mixer)
    return read_label(folder, _run(folder, labeller.timeout), len(frame))


def write_input(
    labeller: Labeller,
    frame: Atoms,
    folder: Path,
    *,
    driver: str,
    results: bool,
    mixer: Sequence[str] = (),
) -> None:
    """Write dftb_in.hsd and geo.gen.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    frame : Atoms
        The structure.
    folder : Path
        Exists.
    driver : str
        Value of the Driver block; `{}` for a single point.
    results : bool
        Whether DFTB+ writes detailed.out and results.tag, which doubles the time of a label.
    mixer : sequence of str
        Lines of a mixer that replaces the program's own.

    Raises
    ------
    LabelFailure
        If the method does not know an element, only some directions are periodic, or the frame has
        unpaired electrons beyond the one of an odd number.
    """
    state = state_of(frame)
    if state.multiplicity > 2:
        raise LabelFailure(
            "rejected",
            f"{frame.get_chemical_formula()}: {state}: DFTB+ is run without spin polarization here;"
            " set it by `hamiltonian` ([labeller]), and state no multiplicity",
        )
    periodic = bool(frame.pbc.all())
    if frame.pbc.any() and not periodic:
        raise LabelFailure(
            "rejected", "DFTB+ takes molecules, and cells that repeat in all three directions"
        )
    block = hamiltonian(
        labeller,
        frame.get_chemical_symbols(),
        folder=str(labeller.slater_koster),
        periodic=periodic,
        mixer=mixer,
        charge=state.charge,
    )
    wanted = "Yes" if results else "No"
    (folder / "dftb_in.hsd").write_text(f"""Geometry = GenFormat {{
  <<< "geo.gen"
}}
Driver = {driver}
{block}
Options {{
  WriteDetailedOut = {wanted}
  WriteResultsTag = {wanted}
  RestartFrequency = 0
}}
Analysis {{
  PrintForces = Yes
  WriteBandOut = No
}}
ParserOptions {{
  ParserVersion = {PARSER_VERSION}
  WriteHSDInput = {wanted}
}}
""")
    (folder / "geo.gen").write_text(geometry(frame))


def geometry(atoms: Atoms) -> str:
    """Return geo.gen: a cluster, or a cell if all directions are periodic."""
    symbols = atoms.get_chemical_symbols()
    elements = list(dict.fromkeys(symbols))
    lines = [f"{len(atoms)} {'S' if atoms.pbc.all() else 'C'}", " ".join(elements)]
    for index, (symbol, position) in enumerate(zip(symbols, atoms.positions, strict=True), 1):
        lines.append(f"{index} {elements.index(symbol) + 1} " + _numbers(position))
    if atoms.pbc.all():
        lines += [_numbers(np.zeros(3)), *(_numbers(vector) for vector in atoms.cell.array)]
    return "\n".join(lines) + "\n"


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.12f}" for value in values)


def read_label(folder: Path, status: int, n_atoms: int) -> tuple[float, NDArray[np.float64]]:
    """Check a finished run and read its label.

    Parameters
    ----------
    folder : Path
        Run folder: stdout, detailed.out, results.tag.
    status : int
        Exit status of the program; negative for a signal.
    n_atoms : int
        N.

    Returns
    -------
    energy : float
        Force-related energy, eV.
    forces : (N, 3) array
        eV/Å.

    Raises
    ------
    LabelFailure
        If the label is not complete; `kind` says what happened.
    """
    output = _text(folder / "stdout")
    if status != 0 or "ERROR!" in output:
        raise _failure(status, output, _text(folder / "stderr"))
    detailed = _text(folder / "detailed.out")
    if not re.search(r"^SCC converged\s*$", detailed, re.MULTILINE):
        raise LabelFailure("not_converged", "detailed.out does not say that the SCC converged")
    tags = _text(folder / "results.tag")
    energy = _tag(tags, "forcerelated_energy")
    forces = _tag(tags, "forces")
    if energy.size != 1 or forces.size != 3 * n_atoms:
        raise LabelFailure(
            "crashed",
            f"results.tag: expected one energy and {3 * n_atoms} force components, got"
            f" {energy.size} and {forces.size}",
        )
    return float(energy[0]) * HARTREE, forces.reshape(-1, 3) * (HARTREE / BOHR)


def read_stress(folder: Path) -> NDArray[np.float64]:
    """Read the (6,) stress of a finished run of a cell, eV/Å³, as `frames.labelled` takes it.

    Raises
    ------
    LabelFailure
        Of kind crashed, if results.tag has none.
    """
    tensor = _tag(_text(folder / "results.tag"), "stress")
    if tensor.size != 9:
        raise LabelFailure("crashed", f"results.tag: expected a stress of 9, got {tensor.size}")
    return voigt(tensor * -(HARTREE / BOHR**3))


def voigt(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 6 components xx, yy, zz, yz, xz, xy of the 9 of a symmetric tensor."""
    return np.asarray(full_3x3_to_voigt_6_stress(tensor.reshape(3, 3)), dtype=np.float64)


def _failure(status: int, output: str, errors: str) -> LabelFailure:
    _, _, after = output.partition("ERROR!")
    reason = " ".join(line.removeprefix("->").strip() for line in after.split("\n")[:5]).strip()
    kind: Kind = "crashed"
    if "SCC is NOT converged" in output:
        kind = "not_converged"
    elif "too close together" in reason:
        kind = "unphysical"
    elif any(word in reason for word in _REJECTED):
        kind = "rejected"
    said = reason or (errors.strip().splitlines() or ["no message"])[0]
    return LabelFailure(kind, f"DFTB+ ended with status {status}: {said}")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _tag(text: str, name: str) -> NDArray[np.float64]:
    """Return an entry of results.tag: a line `name :real:rank:shape`, then the numbers."""
    found = re.search(rf"^{name}\s*:real:.*\n((?:[ \t]+[-+0-9.].*\n?)*)", text, re.MULTILINE)
    return np.array(found.group(1).split() if found else [], dtype=np.float64)


def _run(folder: Path, timeout: float) -> int:
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        try:
            process = start([PROGRAM], folder=folder, stdout=out, stderr=err)
        except OSError as error:
            raise LabelFailure("rejected", f"{PROGRAM}: {error.strerror}; {INSTALL}") from error
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabelFailure("timed_out", f"DFTB+ did not end in {timeout:g} s") from error
        finally:
            process.kill()  # nothing happens when it has ended
            process.wait()


def program_version() -> str:
    """Return the release of the `dftb+` on PATH, such as 25.1.

    Raises
    ------
    LabelError
        If the program is missing, or does not print its release.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise LabelError(f"{PROGRAM}: no such program on PATH; {INSTALL}")
    # Without an input file, DFTB+ prints its header and an error, and ends.
    with tempfile.TemporaryDirectory() as empty:
        run = subprocess.run(
            [program],
            cwd=empty,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    found = re.search(r"DFTB\+ (?:release|development version)\s*(\S+)", run.stdout)
    if found is None:
        said = " ".join((run.stderr or run.stdout).split())[:200] or f"exit status {run.returncode}"
        raise LabelError(f"{program}: expected DFTB+ to print its release, got '{said}'; {INSTALL}")
    return found.group(1)
