"""A calculator of an external program that reads and writes files in its current folder."""

from pathlib import Path

import numpy as np
from ase.calculators.calculator import FileIOCalculator

PROGRAM = '''\
#!{python}
"""Springs of 1.5 A between all pairs: reads inp.xyz, writes out.dat. It may end without output."""
import os, sys, time
from pathlib import Path

import numpy as np

here = Path(__file__).parent
lines = Path("inp.xyz").read_text().splitlines()
positions = np.array([[float(x) for x in line.split()[1:4]] for line in lines[2:]])
with (here / "pids").open("a") as stream:
    stream.write(f"{{os.getpid()}}\\n")
time.sleep(float((here / "seconds").read_text()))
if (here / "skips").exists() and positions[0, 0] >= 100:
    sys.exit(0)
i, j = np.triu_indices(len(positions), 1)
v = positions[j] - positions[i]
r = np.linalg.norm(v, axis=1)
g = 2 * (r - 1.5)[:, None] * v / r[:, None]
forces = np.zeros_like(positions)
np.add.at(forces, i, g)
np.add.at(forces, j, -g)
with open("out.dat", "w") as out:
    out.write(f"{{np.sum((r - 1.5) ** 2):.12f}}\\n")
    np.savetxt(out, forces)
'''


class Files(FileIOCalculator):
    """Energy and forces from out.dat."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (declared so by ASE)

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        rows = zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
        lines = [f"{name} {x:.10f} {y:.10f} {z:.10f}" for name, (x, y, z) in rows]
        text = "\n".join([str(len(atoms)), "", *lines])
        (Path(self.directory) / "inp.xyz").write_text(text)

    def read_results(self):
        first, *rows = (Path(self.directory) / "out.dat").read_text().splitlines()
        forces = np.array([[float(x) for x in row.split()] for row in rows])
        self.results = {"energy": float(first), "forces": forces}


class AbsoluteFiles(Files):
    """The same in the folder where it was made, as an absolute path."""

    def __init__(self, **arguments):
        super().__init__(directory=str(Path.cwd()), **arguments)


class Elsewhere(Files):
    """The same in a folder that all workers would share."""

    def __init__(self, **arguments):
        super().__init__(directory="/tmp", **arguments)
