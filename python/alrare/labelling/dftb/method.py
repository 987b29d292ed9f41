"""The DFTB method: the Hamiltonian block of the input, and the parameter files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config import Labeller
from ...errors import LabelError
from ...files import file_hash
from ..failures import LabelFailure

PARSER_VERSION = 14
"""Version of the input format; DFTB+ 24.1 and later read it."""

OTHER_MIXERS = tuple(
    ("Mixer = Anderson {", f"  MixingParameter = {step}", "  Generations = 8", "}")
    for step in (0.05, 0.01)
)
"""Mixers tried one after the other if the program's own (Broyden) does not converge. They take more
cycles for most structures and fail for others, mainly torn ones. Results of mixers that converge
agree to 1e-6 eV."""


@dataclass(frozen=True)
class Preset:
    """A published parametrization: everything in the Hamiltonian but the numerical settings."""

    third_order: str
    """full, onsite or no."""
    damping: float
    """Exponent of the X-H damping; 0 for none."""
    hubbard_derivatives: Mapping[str, float]
    """By element, atomic units."""
    max_angular_momentum: Mapping[str, str]
    """By element."""


_HUBBARD_3OB = {
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

PRESETS = {
    # 3OB-3-1, as published with the files; the method and the exponent of its damping: Gaus, Cui,
    # Elstner, J. Chem. Theory Comput. 7, 931 (2011).
    "DFTB3/3OB": Preset(
        third_order="full",
        damping=4.0,
        hubbard_derivatives=_HUBBARD_3OB,
        max_angular_momentum=dict.fromkeys(_HUBBARD_3OB, "p")
        | {"H": "s"}
        | dict.fromkeys(("P", "S", "Cl", "Zn", "Br", "I"), "d"),
    ),
    "DFTB": Preset(third_order="no", damping=0.0, hubbard_derivatives={}, max_angular_momentum={}),
}
"""Presets by the value of `[labeller] method`."""


def hamiltonian(
    labeller: Labeller,
    elements: Sequence[str],
    *,
    folder: str,
    periodic: bool = False,
    mixer: Sequence[str] = (),
    charge: int = 0,
) -> str:
    """Return the Hamiltonian block for structures of some elements.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    elements : sequence of str
        Elements of the structure, in any order.
    folder : str
        Folder of the .skf files, as written into the block.
    periodic : bool
        Whether the structure is periodic; the block then holds the k-points.
    mixer : sequence of str
        Lines of a mixer that replaces the program's own.
    charge : int
        Total charge of the structure.

    Raises
    ------
    LabelFailure
        If the method does not know an element, or `hamiltonian` of the labeller has a charge of its
        own; the message names the setting.
    """
    preset = PRESETS[labeller.method]
    elements = sorted(set(elements))
    momenta = _of_elements(
        labeller, "max_angular_momentum", preset.max_angular_momentum, elements, '"{}"'
    )
    lines = [
        "SCC = Yes",
        f"SCCTolerance = {labeller.scc_tolerance:g}",
        f"MaxSCCIterations = {labeller.scc_cycles}",
        "ConvergentSCCOnly = Yes",
        "MaxAngularMomentum {",
        *momenta,
        "}",
        "SlaterKosterFiles = Type2FileNames {",
        f'  Prefix = "{folder}/"',
        '  Separator = "-"',
        '  Suffix = ".skf"',
        "}",
    ]
    order = labeller.third_order or preset.third_order
    if order != "no":
        lines += [
            "ThirdOrderFull = Yes" if order == "full" else "ThirdOrder = Yes",
            "HubbardDerivs {",
            *_of_elements(
                labeller, "hubbard_derivatives", preset.hubbard_derivatives, elements, "{:g}"
            ),
            "}",
        ]
    damping = preset.damping if labeller.damping_exponent is None else labeller.damping_exponent
    if damping > 0:
        lines += ["HCorrection = Damping {", f"  Exponent = {damping:g}", "}"]
    temperature = f"  Temperature [Kelvin] = {labeller.electronic_temperature:g}"
    lines += ["Filling = Fermi {", temperature, "}"]
    if periodic:
        grid = [
            " ".join(str(n * (i == k)) for k in range(3)) for i, n in enumerate(labeller.kpoints)
        ]
        shift = " ".join("0.0" if n % 2 else "0.5" for n in labeller.kpoints)
        lines += ["KPointsAndWeights = SupercellFolding {", *(f"  {row}" for row in grid)]
        lines += [f"  {shift}", "}"]
    if charge:
        if re.search(r"^\s*charge\s*=", labeller.hamiltonian, re.IGNORECASE | re.MULTILINE):
            raise LabelFailure(
                "rejected",
                f"the frame has charge {charge}, and `hamiltonian` sets a `Charge`, too: remove it"
                " there ([labeller])",
            )
        lines.append(f"Charge = {charge}")
    lines += mixer
    lines += labeller.hamiltonian.strip().splitlines()
    return "\n".join(["Hamiltonian = DFTB {", *(f"  {line}" for line in lines), "}"])


def mixers(labeller: Labeller) -> list[Sequence[str]]:
    """Return the mixers to try one after the other, or only the user's if `hamiltonian` has one."""
    return [()] if "mixer" in labeller.hamiltonian.lower() else [(), *OTHER_MIXERS]


def _of_elements(
    labeller: Labeller,
    setting: str,
    preset: Mapping[str, object],
    elements: Sequence[str],
    form: str,
) -> list[str]:
    values = {**preset, **getattr(labeller, setting)}
    unknown = [element for element in elements if element not in values]
    if unknown:
        raise LabelFailure(
            "rejected",
            f"{labeller.method} is set up for {', '.join(preset) or 'no element by itself'}, not"
            f" for {', '.join(unknown)}: give `{setting}` for it ([labeller])",
        )
    return [f"  {element} = {form.format(values[element])}" for element in elements]


def parameter_hashes(slater_koster: Path, elements: Sequence[str]) -> dict[str, str]:
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
