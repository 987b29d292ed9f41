"""Compare a committee in LAMMPS with MACE's own ASE calculator.

python compare.py STRUCTURE MODEL.model MODEL.model ...

Runs `lmp` (or `mpiexec -n 2 lmp`) on committee.pt for one configuration and prints the largest
differences of the mean energy and forces, and of energy_std.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.io import read
from ase.io.lammpsdata import write_lammps_data
from mace.calculators import MACECalculator

INPUT = """
units metal
atom_style atomic
boundary {boundary}
read_data system.data
pair_style nnp_ensemble
pair_coeff * * committee.pt H C
compute uq all pair nnp_ensemble
thermo_style custom step pe c_uq[1]
thermo_modify format float %.12g
dump 1 all custom 1 forces.dump id fx fy fz
dump_modify 1 sort id format float %.12g
run 0
"""

atoms = read(sys.argv[1])
if not atoms.pbc.any():
    atoms.center(vacuum=10.0)
write_lammps_data("system.data", atoms, specorder=["H", "C"], masses=True)
boundary = "p p p" if atoms.pbc.all() else "s s s"
Path("in.compare").write_text(INPUT.format(boundary=boundary), encoding="utf-8")
energies, forces = [], []
for model in sys.argv[2:]:
    atoms.calc = MACECalculator(model_paths=model, device="cpu", default_dtype="float64")
    energies.append(atoms.get_potential_energy())
    forces.append(atoms.get_forces())
for ranks, launcher in ((1, []), (2, ["mpiexec", "-n", "2"])):
    run = subprocess.run(
        [*launcher, "lmp", "-in", "in.compare", "-log", "log.compare"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    lines = Path("log.compare").read_text(encoding="utf-8").splitlines()
    row = next(k for k, line in enumerate(lines) if line.split()[:2] == ["Step", "PotEng"]) + 1
    _, energy, spread = map(float, lines[row].split())
    found = np.loadtxt("forces.dump", skiprows=9)[:, 1:]
    print(
        f"ranks {ranks}: energy"
        f" {abs(energy - np.mean(energies)):.1e} eV, forces"
        f" {np.abs(found - np.mean(forces, axis=0)).max():.1e} eV/Å (largest force"
        f" {np.abs(found).max():.2f}), energy_std {abs(spread - np.std(energies, ddof=1)):.1e} eV"
    )
