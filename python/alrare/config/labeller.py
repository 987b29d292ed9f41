"""The [labeller] table of al.toml."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .types import Count, Element, NotNegative, Number, Positive, Section, SetBy, require_owner


class Labeller(Section):
    """The electronic-structure method that labels configurations."""

    program: Literal["tblite", "dftb+", "ase"] = "tblite"
    """tblite (needs no parameter files), dftb+ (program on PATH), or ase (any ASE calculator)."""
    method: Annotated[str, SetBy("program", ("tblite", "dftb+"))] = "GFN2-xTB"
    """tblite: GFN2-xTB (its default) or GFN1-xTB. dftb+: DFTB3/3OB (its default), or DFTB."""
    electronic_temperature: Positive = 300.0
    """Fermi temperature in K. Part of the method: labels of two temperatures are never mixed."""
    slater_koster: Annotated[
        Path | None, SetBy("program", ("dftb+",)), Field(examples=["3ob-3-1"])
    ] = None
    """dftb+ only: folder of the .skf files (3OB for DFTB3); relative to al.toml."""
    scc_tolerance: Annotated[Positive, SetBy("program", ("dftb+",))] = 1e-8
    """dftb+ only: SCC tolerance in electrons."""
    scc_cycles: Annotated[Count, SetBy("program", ("dftb+",))] = 200
    """dftb+ only: SCC cycles after which a label counts as not converged."""
    third_order: Annotated[
        Literal["full", "onsite", "no"] | None,
        SetBy("program", ("dftb+",)),
        Field(examples=["full"]),
    ] = None
    """dftb+ only: third-order correction; by default that of the method."""
    hubbard_derivatives: Annotated[
        dict[Element, Number], SetBy("program", ("dftb+",)), Field(examples=[{"C": -0.1492}])
    ] = {}
    """dftb+ only: Hubbard derivatives by element in atomic units that replace the method's, such as
    `{ C = -0.1492 }`."""
    damping_exponent: Annotated[
        NotNegative | None, SetBy("program", ("dftb+",)), Field(examples=[4.0])
    ] = None
    """dftb+ only: exponent of the X-H damping, 0 for none; by default that of the method."""
    max_angular_momentum: Annotated[
        dict[Element, Literal["s", "p", "d", "f"]],
        SetBy("program", ("dftb+",)),
        Field(examples=[{"C": "p"}]),
    ] = {}
    """dftb+ only: largest angular momentum by element that replaces the method's, such as
    `{ C = "p" }`."""
    kpoints: Annotated[tuple[Count, Count, Count], SetBy("program", ("dftb+",))] = (1, 1, 1)
    """dftb+ only: Monkhorst-Pack grid; used for periodic cells only."""
    hamiltonian: Annotated[str, SetBy("program", ("dftb+",))] = ""
    """dftb+ only: further lines of the Hamiltonian block, such as dispersion."""
    engine: Annotated[
        Literal["auto", "library", "socket", "process"], SetBy("program", ("dftb+",))
    ] = "auto"
    """dftb+ only: how the program is run; auto takes the first way that works. The labels are the
    same (see docs/labellers.md)."""
    calculator: Annotated[
        str | None, SetBy("program", ("ase",)), Field(examples=["ase.calculators.emt.EMT"])
    ] = None
    """ase only: dotted path of the calculator class or function, e.g. `ase.calculators.emt.EMT`."""
    arguments: Annotated[dict[str, Any], SetBy("program", ("ase",))] = {}
    """ase only: keyword arguments of the calculator."""
    min_distance: Positive = 0.5
    """A configuration with two atoms closer than this (Å) is refused as unphysical."""
    timeout: Positive = 300.0
    """Time limit of one label in seconds; a label that takes longer has failed."""
    max_failed: Annotated[NotNegative, Field(le=1)] = 0.5
    """A campaign stops with an error when more than this share of a batch of labels fails."""

    @model_validator(mode="before")
    @classmethod
    def _method_of_program(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("program") == "dftb+":
            return {"method": "DFTB3/3OB", **values}
        return values

    @model_validator(mode="after")
    def _complete(self) -> "Labeller":
        if self.program == "ase" and self.calculator is None:
            raise ValueError(
                'program = "ase" needs `calculator`, the dotted path of an ASE calculator'
            )
        if self.program == "dftb+" and self.slater_koster is None:
            raise ValueError('program = "dftb+" needs `slater_koster`, the folder of .skf files')
        known = {"tblite": ("GFN2-xTB", "GFN1-xTB"), "dftb+": ("DFTB3/3OB", "DFTB")}
        if self.method not in known.get(self.program, (self.method,)):
            names = " or ".join(known[self.program])
            raise ValueError(f'method = "{self.method}": expected {names} for {self.program}')
        require_owner(self, "program", self.program)
        return self
