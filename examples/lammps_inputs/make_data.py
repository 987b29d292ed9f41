"""Make data.hexane and data.alkane_box: one hexane, and 50 of them on a lattice (1000 atoms).

python make_data.py
"""

from pathlib import Path

import numpy as np
from alrare.exploration import write_data_file
from alrare.frames import read_frames
from ase import Atoms

HERE = Path(__file__).parent
SPACING = (10.4, 4.6, 4.6)  # Å along the chain and across it: 0.65 g/cm³, the liquid's density


def hexane() -> Atoms:
    """Return the relaxed all-trans molecule; its chain lies along x."""
    [molecule] = read_frames(HERE.parent / "hexane" / "hexane.xyz")
    molecule.positions -= molecule.positions.mean(axis=0)
    return molecule


def alkane_box(repeats: tuple[int, int, int]) -> Atoms:
    """Return a periodic lattice of hexanes whose nearest molecules are 2.3 Å apart (H to H)."""
    box = Atoms(cell=np.multiply(repeats, SPACING), pbc=True)
    for cell in np.ndindex(*repeats):
        molecule = hexane()
        molecule.rotate(165, "x")
        molecule.positions += (np.array(cell) + 0.5) * SPACING
        box += molecule
    return box


if __name__ == "__main__":
    write_data_file(HERE / "data.hexane", hexane(), ["H", "C"])
    write_data_file(HERE / "data.alkane_box", alkane_box((2, 5, 5)), ["H", "C"])
