"""The forms in which real files hold the frames of good.xyz, and the damage they take."""

import bz2
import gzip
import io
import lzma
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase.constraints import FixAtoms

GOOD = lzma.decompress((Path(__file__).parent / "data" / "good.xyz.xz").read_bytes()).decode()
"""60 frames of 15 atoms, each of 17 lines."""
HARTREE, BOHR = 27.211386, 0.529177
FRAMES = [
    "".join(lines) for lines in zip(*[iter(GOOD.splitlines(keepends=True))] * 17, strict=True)
]
ENERGY = re.compile(r"energy=(\S+)")


def comments(old: str, new: str) -> bytes:
    """Return good.xyz with a text of every comment line replaced."""
    return GOOD.replace(old, new).encode()


def energies(change: Callable[[int, float], str]) -> str:
    """Return good.xyz with energies written by a function of the frame, from 0, and the energy."""
    number = iter(range(len(FRAMES)))
    return ENERGY.sub(lambda found: change(next(number), float(found[1])), GOOD)


def columns(text: str, *, positions: float = 1.0, forces: float = 1.0) -> bytes:
    """Return the frames with positions and forces multiplied."""
    factors = [positions] * 3 + [forces] * 3

    def row(found: re.Match[str]) -> str:
        values = [
            float(word) * factor for word, factor in zip(found[2].split(), factors, strict=True)
        ]
        return f"{found[1]:<2}" + "".join(f"{value:17.8f}" for value in values)

    return re.sub(r"^([A-Z][a-z]?) +(-?\d.*)$", row, text, flags=re.MULTILINE).encode()


def frame(number: int, old: str, new: str, count: int = 1) -> bytes:
    """Return good.xyz with a text of one frame, from 1, replaced."""
    changed = list(FRAMES)
    changed[number - 1] = FRAMES[number - 1].replace(old, new, count)
    assert changed != FRAMES
    return "".join(changed).encode()


def by_ase(suffix: str, change: Callable[[ase.Atoms], None]) -> bytes:
    """Return the frames as ASE writes them, changed one by one."""
    atoms = ase.io.read(io.StringIO(GOOD), ":", format="extxyz")
    for one in atoms:
        change(one)
    if suffix == "traj":
        binary = io.BytesIO()
        ase.io.write(binary, atoms, format="traj")
        return binary.getvalue()
    text = io.StringIO()
    ase.io.write(text, atoms, format="extxyz")
    return text.getvalue().encode()


def fix_two_atoms(atoms: ase.Atoms) -> None:
    atoms.set_constraint(FixAtoms([0, 1]))


def in_a_box(atoms: ase.Atoms) -> None:
    atoms.set_cell([30.0] * 3)
    atoms.pbc = True
    atoms.calc.results["stress"] = np.full(6, 1e-4)


def isolated(lattice: str) -> bytes:
    """Return good.xyz and an isolated atom of each element."""
    atoms = {"H": -13.568422178253735, "C": -1026.8538996116154, "O": -2037.796869412825}
    return GOOD.encode() + b"".join(
        f"1\n{lattice}Properties=species:S:1:pos:R:3 energy={energy}\n{name} 0.0 0.0 0.0\n".encode()
        for name, energy in atoms.items()
    )


def charged(numbers: Sequence[int]) -> bytes:
    """Return good.xyz and cations, 7.5 eV above the neutral molecules, of some of its frames."""
    new = [
        ENERGY.sub(lambda found: f"charge=1 spin=2 energy={float(found[1]) + 7.5}", FRAMES[number])
        for number in numbers
    ]
    return "".join([*FRAMES[: len(FRAMES) - len(new)], *new]).encode()


def cp2k(column: int) -> bytes:
    """Return the frames as CP2K writes positions (column 1, Å) or forces (4, hartree/bohr)."""
    text, unit = "", 1.0 if column == 1 else BOHR / HARTREE
    for step, one in enumerate(FRAMES):
        number, comment, *atoms = one.splitlines()
        energy = float(ENERGY.search(comment)[1]) / HARTREE
        text += f"{number}\n i = {step:8}, time = {step / 2:12.3f}, E = {energy:19.10f}\n"
        for name, *words in map(str.split, atoms):
            text += f"  {name}" + "".join(
                f"{float(w) * unit:20.10f}" for w in words[column - 1 : column + 2]
            )
            text += "\n"
    return text.encode()


def npz() -> bytes:
    binary = io.BytesIO()
    np.savez(binary, coords=np.zeros((2, 15, 3)), energies=np.zeros(2), forces=np.zeros((2, 15, 3)))
    return binary.getvalue()


SAME: dict[str, Callable[[], bytes]] = {
    "good.xyz.gz": lambda: gzip.compress(GOOD.encode()),
    "good.xyz.xz": lambda: lzma.compress(GOOD.encode()),
    "good.xyz.bz2": lambda: bz2.compress(GOOD.encode()),
    "crlf.xyz": lambda: GOOD.replace("\n", "\r\n").encode(),
    "bom.xyz": lambda: GOOD.encode("utf-8-sig"),
    "utf8.xyz": lambda: comments('pbc="F F F"', 'pbc="F F F" author="Müller"'),
    "blank_tail.xyz": lambda: GOOD.encode() + b"\n\n\n",
    "constraints.xyz": lambda: by_ase("xyz", fix_two_atoms),
    "constraints.traj": lambda: by_ase("traj", fix_two_atoms),
    "lattice_no_pbc.xyz": lambda: comments('pbc="F F F"', 'Lattice="50 0 0 0 50 0 0 0 50"'),
    "stress.xyz": lambda: by_ase("xyz", in_a_box),
    "offset_1e6.xyz": lambda: energies(lambda _, e: f"energy={e - 1e6!r}").encode(),
    "free_energy.xyz": lambda: energies(
        lambda k, e: f"energy={e + 0.2 * math.sin(k)!r} free_energy={e!r}"
    ).encode(),
    "fortran_d.xyz": lambda: energies(
        lambda k, e: f"energy={f'{e:.14E}'.replace('E', 'D' if k == 0 else 'd')}"
    ).encode(),
}
"""Good data in odd clothes: they say what good.xyz says."""

DAMAGED: dict[str, Callable[[], bytes]] = {
    "ref_keys.xyz": lambda: comments("forces:R:3 energy", "REF_forces:R:3 REF_energy"),
    "dft_keys.xyz": lambda: comments("forces:R:3 energy", "dft_forces:R:3 dft_energy"),
    "energy_force.xyz": lambda: comments("forces:", "force:"),
    "gradients.xyz": lambda: comments("forces:", "gradient:"),
    "hartree_all.xyz": lambda: columns(
        energies(lambda _, e: f"energy={e / HARTREE!r}"), forces=BOHR / HARTREE
    ),
    "hartree_E_only.xyz": lambda: energies(lambda _, e: f"energy={e / HARTREE!r}").encode(),
    "sign_flipped.xyz": lambda: columns(GOOD, forces=-1.0),
    "bohr_positions.xyz": lambda: columns(GOOD, positions=1 / BOHR),
    "two_charges.xyz": lambda: charged(range(30)),
    "two_charges_distinct.xyz": lambda: charged(range(30, 60)),
    "dummyX.xyz": lambda: frame(1, "\nC ", "\nX "),
    "truncated.xyz": lambda: GOOD[: GOOD.index(FRAMES[58]) + 700].encode(),
    "truncated_at_line.xyz": lambda: "".join(GOOD.splitlines(keepends=True)[:-8]).encode(),
    "empty.xyz": lambda: b"",
    "comma.xyz": lambda: re.sub(r"(\d)\.(\d)", r"\1,\2", GOOD).encode(),
    "mixed_unlabelled.xyz": lambda: frame(8, ":forces:R:3 energy", ":spring:R:3 stiffness"),
    "nan_energy.xyz": lambda: frame(5, ENERGY.search(FRAMES[4])[0], "energy=nan"),
    "nan_force.xyz": lambda: frame(6, FRAMES[5].split()[10], "nan"),
    "huge_force.xyz": lambda: frame(6, FRAMES[5].split()[10], "100000.0"),
    "dups_contradict.xyz": lambda: (
        GOOD.encode() + FRAMES[0].replace("-9391.45554428476", "-9391.44554428476").encode()
    ),
    "latin1.xyz": lambda: GOOD.replace("energy=", 'author="Müller" energy=').encode("latin-1"),
    "cp2k-pos-1.xyz": lambda: cp2k(1),
    "cp2k-frc-1.xyz": lambda: cp2k(4),
    "ani_like.h5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(88),
    "rmd17_like.npz": npz,
}
"""Data that must be refused."""
