"""A calculator whose answer has the wrong form, sign or unit, or that fails as users' do."""

import sys
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from springs import springs


class Bad(Calculator):
    """Springs, spoiled as `mode` says; the file `log` receives one line for each call."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (declared so by ASE)

    def __init__(self, mode="good", log=None):
        super().__init__()
        self.mode, self.log = mode, log

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.log is not None:
            with Path(self.log).open("a") as stream:
                stream.write(f"{self.mode}\n")
        energy, forces = springs(self.atoms)
        changed = {
            "none": lambda: (None, forces),
            "no forces": lambda: (energy, None),
            "flat": lambda: (energy, forces.ravel()),
            "short": lambda: (energy, forces[:-1]),
            "ragged": lambda: (energy, [[0.0], [0.0, 1.0]]),
            "one energy in a list": lambda: ([energy], forces),
            "complex": lambda: (complex(energy), forces),
            "complex forces": lambda: (energy, forces.astype(complex)),
            "text": lambda: (str(energy), forces),
            "nan": lambda: (energy, forces * np.nan),
            "exit": lambda: sys.exit("no license on host a7"),
            "chatty": lambda: self.fail("line\n" * 3000 + "disk quota exceeded"),
            "gradient": lambda: (energy, -forces),
            "hartree": lambda: (energy / 27.211386, forces),
            "per bohr": lambda: (energy, forces * 0.529177),
            "other forces": lambda: (energy, forces - 0.5 * self.atoms.positions),
            "energy only": lambda: (energy, forces),
        }.get(self.mode, lambda: (energy, forces))()
        self.results = dict(zip(("energy", "forces"), changed, strict=True))
        if self.mode == "energy only":
            del self.results["forces"]

    def fail(self, text):
        raise RuntimeError(text)


class EnergyOnly(Bad):
    implemented_properties = ["energy"]  # noqa: RUF012  (declared so by ASE)


def forty_two():
    return 42


def nothing():
    return None


def ends():
    sys.exit("no license on host a7")
