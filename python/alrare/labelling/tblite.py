"""GFN-xTB by tblite, with gentler mixers where its own does not converge."""

from typing import Any

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from tblite.ase import TBLite

from ..electronic_state import state_of
from .failures import LabelFailure

SCF_ATTEMPTS: tuple[dict[str, Any], ...] = (
    {},
    {"mixer_damping": 0.2, "max_iterations": 100},
    {"mixer_damping": 0.1, "max_iterations": 100},
    {"mixer_damping": 0.2, "max_iterations": 500},
    {"mixer_damping": 0.05, "max_iterations": 1000},
)
"""Settings tried one after the other, for the self-consistent field of a configuration whose bond
breaks. tblite's own come first (damping 0.4, 250 iterations), so that a label is what tblite itself
gives wherever it converges: another guess or mixer may find another state
(docs/decisions/0039-attempts-at-self-consistency.md). Alone they fail once in some hundred thousand
steps, which would end one pull in twenty. Then come short attempts, since an iteration of tblite's
mixer takes longer with each one before it."""


class Tblite(Calculator):
    """tblite's ASE calculator, which tries several settings until one converges.

    Where tblite's own settings converge, their result is the label. Elsewhere that of a gentler
    mixer is; nearly always the two would agree within the tolerance of the self-consistency
    (1e-6 eV, 1e-3 eV/Å). Charge and multiplicity are those of the frame
    (`electronic_state.state_of`).

    Parameters
    ----------
    settings
        As of `tblite.ase.TBLite`.
    """

    implemented_properties = TBLite.implemented_properties

    def __init__(self, **settings: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._attempts = [TBLite(**settings, **attempt) for attempt in SCF_ATTEMPTS]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute everything; see `ase.calculators.calculator.Calculator.calculate`.

        Raises
        ------
        CalculationFailed
            If no attempt converges.
        LabelFailure
            If only some directions are periodic. tblite takes all as periodic then, and the energy
            depends on the height of the box: 0.2 eV from 100 Å to 8 Å for 32 atoms of graphene.
        """
        if atoms is not None and atoms.pbc.any() and not atoms.pbc.all():
            raise LabelFailure(
                "rejected",
                "tblite takes molecules, and cells that repeat in all three directions; give a"
                " sheet or a chain a cell with vacuum, periodic along x, y and z",
            )
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        *first, last = self._attempts
        for attempt in first:
            try:
                self.results = self._results_of(attempt)
                return
            except CalculationFailed:
                continue
        self.results = self._results_of(last)

    def _results_of(self, attempt: TBLite) -> dict[str, Any]:
        assert self.atoms is not None
        attempt.set(**state_of(self.atoms)._asdict())
        attempt.reset()
        attempt.calculate(self.atoms)
        return dict(attempt.results)
