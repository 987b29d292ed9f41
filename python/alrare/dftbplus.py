"""DFTB+ labels: the input, the run, and the check that what came out is a whole label.

One process a call, always in a fresh folder: DFTB+ leaves old output files untouched when it
fails. Its exit status and results.tag alone do not tell a good result from a bad one, so the SCC
line of detailed.out is read too. The energy taken is the force-related (Mermin) one, whose
gradient the forces are; ASE's own Dftb calculator reads the internal energy instead.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from .errors import LabelError
from .failures import Kind, LabelFailure
from .state import file_hash
from .tasks import die_with_parent

PROGRAM = "dftb+"
PARSER_VERSION = 14
MAX_SCC_CYCLES = 200
DAMPING_EXPONENT = 4.0
"""Exponent of the H-X damping of DFTB3/3OB (Gaus, Cui, Elstner, JCTC 7, 931 (2011))."""

HUBBARD_DERIVATIVES = {
    "H": -0.1857,
    "C": -0.1492,
    "N": -0.1535,
    "O": -0.1575,
    "F": -0.1623,
    "Na": -0.0454,
    "Mg": -0.02,
    "P": -0.14,
    "S": -0.11,
    "Cl": -0.0697,
    "K": -0.0339,
    "Ca": -0.0340,
    "Zn": -0.03,
    "Br": -0.0573,
    "I": -0.0433,
}
"""Atomic units, as published with the 3OB-3-1 parameters."""
MAX_ANGULAR_MOMENTUM = {"H": "s"} | dict.fromkeys(("P", "S", "Cl", "Zn", "Br", "I"), "d")
"""As published with 3OB-3-1; every other element takes p."""

_REJECTED = (
    "SK file",
    "IO error in file",
    "Missing child",
    "errors in dftb_in",
    "Unexpected end of data",
    "No input file",
    "Invalid",
)


class DftbPlus(Calculator):
    """DFTB3/3OB through the program `dftb+`.

    Parameters
    ----------
    folder : Path
        Each call runs in `folder`/call, emptied before; the last call's files stay there.
    slater_koster : Path
        Folder of the .skf files.
    electronic_temperature : float
        K.
    scc_tolerance : float
        Electrons.
    timeout : float
        Seconds for one call.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (declared so by ASE)

    def __init__(
        self,
        *,
        folder: Path,
        slater_koster: Path,
        electronic_temperature: float,
        scc_tolerance: float,
        timeout: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._call = folder / "call"
        self._timeout = timeout
        self._settings: dict[str, Any] = {
            "slater_koster": slater_koster,
            "electronic_temperature": electronic_temperature,
            "scc_tolerance": scc_tolerance,
        }

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Run the program once; raises `LabelFailure` unless the result is whole."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        frame = self.atoms
        assert frame is not None
        shutil.rmtree(self._call, ignore_errors=True)
        self._call.mkdir(parents=True)
        elements = list(dict.fromkeys(frame.get_chemical_symbols()))
        (self._call / "dftb_in.hsd").write_text(dftb_input(elements, **self._settings))
        (self._call / "geo.gen").write_text(geometry(frame))
        status = _run(self._call, self._timeout)
        energy, forces = read_label(self._call, status, len(frame))
        self.results = {"energy": energy, "forces": forces}


def dftb_input(
    elements: list[str],
    *,
    slater_koster: Path,
    electronic_temperature: float,
    scc_tolerance: float,
) -> str:
    """Return dftb_in.hsd for DFTB3/3OB, for DFTB+ of parser version 14.

    Parameters
    ----------
    elements : list of str
        Elements of the structure.
    slater_koster : Path
        Folder of the .skf files.
    electronic_temperature : float
        Fermi temperature, K.
    scc_tolerance : float
        Electrons.

    Raises
    ------
    LabelFailure
        If the preset does not know an element.
    """
    unknown = [element for element in elements if element not in HUBBARD_DERIVATIVES]
    if unknown:
        raise LabelFailure(
            "rejected",
            f"DFTB3/3OB is set up for {', '.join(HUBBARD_DERIVATIVES)}, not for"
            f" {', '.join(unknown)}",
        )
    momenta = "\n".join(
        f'    {element} = "{MAX_ANGULAR_MOMENTUM.get(element, "p")}"' for element in elements
    )
    hubbard = "\n".join(f"    {element} = {HUBBARD_DERIVATIVES[element]}" for element in elements)
    return f"""Geometry = GenFormat {{
  <<< "geo.gen"
}}
Driver = {{}}
Hamiltonian = DFTB {{
  SCC = Yes
  SCCTolerance = {scc_tolerance:g}
  MaxSCCIterations = {MAX_SCC_CYCLES}
  ConvergentSCCOnly = Yes
  MaxAngularMomentum {{
{momenta}
  }}
  SlaterKosterFiles = Type2FileNames {{
    Prefix = "{slater_koster}/"
    Separator = "-"
    Suffix = ".skf"
  }}
  ThirdOrderFull = Yes
  HubbardDerivs {{
{hubbard}
  }}
  HCorrection = Damping {{
    Exponent = {DAMPING_EXPONENT}
  }}
  Filling = Fermi {{
    Temperature [Kelvin] = {electronic_temperature:g}
  }}
}}
Options {{
  WriteDetailedOut = Yes
  WriteResultsTag = Yes
}}
Analysis {{
  PrintForces = Yes
}}
ParserOptions {{
  ParserVersion = {PARSER_VERSION}
}}
"""


def geometry(atoms: Atoms) -> str:
    """Return geo.gen: a cluster, or a cell when the structure repeats in all directions."""
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
        If the label is not whole: each kind of failure named.
    """
    output = _text(folder / "stdout")
    if status != 0 or "ERROR!" in output:
        raise _failure(status, output)
    detailed = _text(folder / "detailed.out")
    if not re.search(r"^SCC converged\s*$", detailed, re.MULTILINE):
        raise LabelFailure("not_converged", f"no SCC convergence in {MAX_SCC_CYCLES} cycles")
    tags = _text(folder / "results.tag")
    energy = _tag(tags, "forcerelated_energy")
    forces = _tag(tags, "forces")
    if energy.size != 1 or forces.size != 3 * n_atoms:
        raise LabelFailure(
            "crashed",
            f"results.tag: expected one energy and {3 * n_atoms} force components, got"
            f" {energy.size} and {forces.size}",
        )
    return float(energy[0]) * Hartree, forces.reshape(-1, 3) * (Hartree / Bohr)


def _failure(status: int, output: str) -> LabelFailure:
    _, _, after = output.partition("ERROR!")
    reason = " ".join(line.removeprefix("->").strip() for line in after.split("\n")[:5]).strip()
    kind: Kind = "crashed"
    if "SCC is NOT converged" in output:
        kind = "not_converged"
    elif "too close together" in reason:
        kind = "unphysical"
    elif any(word in reason for word in _REJECTED):
        kind = "rejected"
    return LabelFailure(kind, f"DFTB+ ended with status {status}: {reason or 'no message'}")


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def _tag(text: str, name: str) -> NDArray[np.float64]:
    """Values of one entry of results.tag: a line `name :real:rank:shape`, then the numbers."""
    found = re.search(rf"^{name}\s*:real:.*\n((?:[ \t]+[-+0-9.].*\n?)*)", text, re.MULTILINE)
    return np.array(found.group(1).split() if found else [], dtype=np.float64)


def _run(folder: Path, timeout: float) -> int:
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        try:
            return subprocess.run(
                [PROGRAM],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
                check=False,
                preexec_fn=die_with_parent,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise LabelFailure("timed_out", f"DFTB+ did not end in {timeout:g} s") from error
        except OSError as error:
            raise LabelFailure("rejected", f"{PROGRAM}: {error.strerror}; {INSTALL}") from error


INSTALL = "install DFTB+ (for instance from conda-forge) so that `dftb+` is on PATH"


def program_version() -> str:
    """Return the release of the `dftb+` on PATH, such as 25.1.

    Raises
    ------
    LabelError
        If the program is missing or does not say.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise LabelError(f"{PROGRAM}: no such program on PATH; {INSTALL}")
    # Given no input, DFTB+ prints its header, says so, and ends.
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
        raise LabelError(f"{program}: expected DFTB+, but it does not print a release: {INSTALL}")
    return found.group(1)


def parameter_hashes(slater_koster: Path, elements: list[str]) -> dict[str, str]:
    """Return the sha256 of each .skf file that a set of elements needs.

    Raises
    ------
    LabelError
        If one is missing; the message names it.
    """
    names = [f"{first}-{second}.skf" for first in elements for second in elements]
    missing = [name for name in names if not (slater_koster / name).is_file()]
    if missing:
        raise LabelError(
            f"slater_koster = '{slater_koster}': expected {', '.join(missing)} there; 3OB is"
            " distributed at dftb.org ([labeller])"
        )
    return {name: file_hash(slater_koster / name) for name in names}
