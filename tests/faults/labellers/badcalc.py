"""Calculators of users that misbehave; the energy is that of springs between all pairs of atoms."""

import ctypes
import hashlib
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, FileIOCalculator, all_changes
from springs import springs


class Odd(Exception):  # noqa: N818  (as a user's is)
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def one_in(number, atoms):
    return int(hashlib.md5(atoms.positions.tobytes()).hexdigest(), 16) % number == 0


def fail(error):
    raise error


def print_much():
    for _ in range(2000):
        print("x" * 500)
    sys.stdout.flush()
    os.system("echo from a child")


class Base(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (declared so by ASE)

    def __init__(self, mode="ok"):
        super().__init__()
        self.mode = mode

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = springs(self.atoms)
        does = {
            "hang": lambda: time.sleep(1e6),
            "print": print_much,
            "exit0": lambda: os._exit(0),
            "exit3": lambda: os._exit(3),
            "segv": lambda: ctypes.string_at(0),
            "sysexit": lambda: sys.exit("license expired"),
            "kbd": lambda: fail(KeyboardInterrupt()),
            "stdin": lambda: input("continue? "),
            "chdir": lambda: os.chdir("/"),
            "oom": lambda: fail(MemoryError("no memory")),
            "half": lambda: one_in(2, self.atoms) and fail(RuntimeError("SCF failed here")),
            "odd_exception": lambda: fail(Odd("bad", "thing")),
            "warn": lambda: warnings.warn("deprecated", stacklevel=1),
            "chatty_exception": lambda: fail(RuntimeError("line1\n" * 3000)),
            "stop_iteration": lambda: fail(StopIteration()),
        }
        does.get(self.mode, lambda: None)()
        gives = {
            "none": (None, forces),
            "none_forces": (energy, None),
            "shape": (energy, forces.ravel()),
            "shape_list": (energy, forces[:-1]),
            "nan": (energy, forces * np.nan),
            "nan_e": (float("nan"), forces),
            "inf_f": (energy, forces + np.inf),
            "array_e": (np.array([energy]), forces),
            "array_e2": (np.array([energy, energy]), forces),
            "complex_e": (complex(energy), forces),
            "str_e": (str(energy), forces),
            "grad": (energy, -forces),
            "hartree": (energy / 27.2114, forces),
        }
        values = gives.get(self.mode, (energy, forces))
        self.results = dict(zip(("energy", "forces"), values, strict=True))
        if self.mode == "energy_only":
            del self.results["forces"]


class EnergyOnly(Base):
    implemented_properties = ["energy"]  # noqa: RUF012


class Stateful(Base):
    """Drifts with the number of calls."""

    calls = 0

    def calculate(self, *given, **more):
        super().calculate(*given, **more)
        self.calls += 1
        self.results["energy"] += 0.1 * self.calls


def not_a_calculator():
    return 42


def returns_none():
    return None


class Files(FileIOCalculator):
    """The program fakeorca, which is on PATH."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, command="fakeorca", **more):
        super().__init__(command=command, **more)

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        rows = zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
        lines = [f"{name} {x:.10f} {y:.10f} {z:.10f}" for name, (x, y, z) in rows]
        (Path(self.directory) / "inp.xyz").write_text("\n".join([str(len(atoms)), "", *lines]))

    def read_results(self):
        first, *rows = (Path(self.directory) / "out.dat").read_text().splitlines()
        forces = np.array([[float(x) for x in row.split()] for row in rows])
        self.results = {"energy": float(first), "forces": forces}


class AbsoluteFiles(Files):
    """As somebody writes it who wants files where they belong."""

    def __init__(self, **more):
        super().__init__(directory=str(Path.cwd()), **more)
