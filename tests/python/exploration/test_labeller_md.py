"""MD by the labeller in cells that change: frames, stress, and going on after an interruption."""

from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import SimulationError
from alrare.exploration.journal import Journal
from alrare.exploration.label_server import labeller_potential
from alrare.exploration.labeller_md import (
    JOURNAL_FILE,
    LabellerMD,
    relax,
    run_md,
    steps_done,
)
from alrare.frames import label_of, read_frames, stress_of
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

pytestmark = pytest.mark.needs_lmp

COUNTING = """
from ase.calculators.emt import EMT

class Counting(EMT):
    def __init__(self, log):
        super().__init__()
        self.log = log

    def calculate(self, *arguments):
        super().calculate(*arguments)
        with open(self.log, "a") as stream:
            print(self.atoms.cell[0, 0], file=stream)
"""
INPUT = f"""
units metal
atom_modify map yes
read_data molecule.data
{labeller_potential(("Cu",))}
velocity all create 600 7 loop all
fix move all nve
fix bath all langevin 600 600 0.1 7
run 6
reset_timestep 0
fix tear all deform 1 x erate 2.0 remap x
thermo 1
thermo_style custom step pe lx pxx
thermo_modify format float %.17g
run 30
"""


def crystal() -> Atoms:
    cell = bulk("Cu", "fcc", a=3.6, cubic=True)
    cell.rattle(0.05, seed=1)
    return cell


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """Return a function that returns a labeller which writes a line for each label to a file."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "counting.py").write_text(COUNTING)

    def labeller(log: Path) -> Labeller:
        return Labeller(program="ase", calculator="counting.Counting", arguments={"log": str(log)})

    return labeller


@pytest.fixture
def torn(counting, lmp):
    """Return a function that tears the crystal in a folder; it returns the number of labels."""

    def run(folder: Path, *, lmp: str = lmp, text: str = INPUT) -> int:
        log = folder.with_suffix(".calls")
        log.write_text("")
        folder.mkdir(exist_ok=True)
        run_md(LabellerMD(text, crystal(), ("Cu",), counting(log), 5, None, folder, lmp))
        return len(log.read_text().splitlines())

    return run


def table(folder: Path) -> list[str]:
    """The rows of the thermo output."""
    lines = (folder / "log.lammps").read_text().splitlines()
    return [line for line in lines if line.split()[:1] and line.split()[0].isdigit()]


def test_frames_after_the_reset_carry_the_cell_and_the_stress_of_their_step(torn, tmp_path):
    torn(tmp_path / "run")
    frames = read_frames(tmp_path / "run" / "trajectory.extxyz")
    assert [frame.info["step"] for frame in frames] == [5, 10, 15, 20, 25, 30]
    lengths = [frame.cell[0, 0] for frame in frames]
    assert lengths[0] > 3.6 and np.all(np.diff(lengths) > 0.03)
    for frame in frames:
        known = frame.copy()
        known.calc = EMT()
        np.testing.assert_allclose(stress_of(frame), known.get_stress(), atol=1e-6)
    assert steps_done(tmp_path / "run") <= 36


def test_a_run_that_was_cut_goes_on_to_the_same_bits_with_the_labels_it_has(torn, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    n_labels = torn(whole)
    cut.mkdir()
    content = (whole / JOURNAL_FILE).read_bytes()
    with Journal(whole / JOURNAL_FILE, 4, periodic=True) as journal:
        n_records = len(journal)
    record = (len(content) - 16) // n_records
    (cut / JOURNAL_FILE).write_bytes(content[: 16 + 20 * record + 7])
    again = torn(cut)
    for name in ("trajectory.extxyz", JOURNAL_FILE):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert table(cut) == table(whole) and len(table(whole)) > 30
    assert n_records == 38 and again == n_labels * 18 // 38


def test_a_relaxation_that_was_cut_goes_on_to_the_same_structure_with_the_labels_it_has(
    counting, tmp_path, monkeypatch
):
    def run(name):
        log = tmp_path / f"{name}.calls"
        relaxed = relax(crystal(), counting(log), tmp_path / name)
        return relaxed, len(log.read_text().splitlines())

    whole, n_labels = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr("alrare.exploration.labeller_md._RELAX_STEPS", 3)
        with pytest.raises(SimulationError, match="not relaxed in 3 steps"):
            run("cut")
    cut, n_all = run("cut")
    assert n_all == n_labels > 5
    np.testing.assert_array_equal(cut.positions, whole.positions)
    for one, other in zip(
        (*label_of(cut), stress_of(cut)), (*label_of(whole), stress_of(whole)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_program_that_is_no_lammps_is_named(torn, tmp_path):
    with pytest.raises(SimulationError, match=r"asked for no label in .* If it is not LAMMPS"):
        torn(tmp_path / "run", lmp="true")


def test_an_input_that_lammps_refuses_says_what_lammps_says(torn, tmp_path):
    with pytest.raises(SimulationError, match="ERROR: Unknown command: nonsense"):
        torn(tmp_path / "run", text=INPUT + "nonsense\n")
