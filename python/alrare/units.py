"""Conversion factors between other units and alrare's own: eV, Å, fs."""

HARTREE = 27.211386024367243
"""eV; as ASE and torchani have it."""
BOHR = 0.529177249
"""Å; as DFTB+ has it."""
KCAL_PER_MOL = 0.0434
"""eV, rounded as in the paper: the accuracy that a potential should reach."""
GPA = 0.006241509074460763
"""eV/Å³."""
