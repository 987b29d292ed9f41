"""What a pull shows: the broken bond, the work at the break, the peaks; and its dump."""

from pathlib import Path

import numpy as np
import pytest
from alrare.errors import SimulationError
from alrare.exploration.observables import find_break, observe, read_trajectory
from alrare.exploration.work import WorkCurve
from ase import Atoms
from ase.build import molecule

SNAPSHOT = """\
ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS mm mm mm
-9 9
-9 9
-9 9
ITEM: ATOMS id element xu yu zu
1 C 0 0 0
2 H 0 0 {height}
"""


def stretched(n: int) -> list[Atoms]:
    """Ethane stretched along its C-C bond until it is 1.7 times as long, ten steps a frame."""
    start = molecule("C2H6")
    half = np.sign(start.positions[:, 2])
    frames = []
    for number, stretch in enumerate(np.linspace(0.0, 0.53, n)):
        frame = start.copy()
        frame.positions[:, 2] += half * stretch
        frame.info["step"] = 10 * number
        frames.append(frame)
    return frames


def curve(n: int) -> WorkCurve:
    step = np.arange(10.0 * n)
    work = np.minimum(0.01 * step, 2.0) - 0.001 * np.maximum(step - 250.0, 0.0)
    return WorkCurve(
        step=step,
        distance=step,
        target=step,
        force=np.where(step == 77, 4.0, 1.0),
        work=work,
        potential_energy=-100.0 + np.where(step == 88, 3.0, 0.0),
        temperature=step,
        energy_std=None,
    )


def test_the_break_is_where_a_bond_of_the_first_frame_is_too_long() -> None:
    frames = stretched(50)
    first = find_break(frames)
    assert first is not None and first.atoms == (1, 2)
    length = [frame.get_distance(0, 1) / frames[0].get_distance(0, 1) for frame in frames]
    assert length[first.index - 1] < 1.45 < length[first.index]
    assert find_break(frames[:5]) is None
    assert find_break([]) is None


def test_a_pull_is_observed_at_its_break_and_at_its_peaks() -> None:
    frames = stretched(50)
    first = find_break(frames)
    assert first is not None
    seen = observe(curve(50), frames)
    assert seen.broken_bond == (1, 2)
    assert seen.break_step == 10 * first.index
    assert seen.work_at_break == pytest.approx(curve(50).work[10 * first.index])
    assert seen.activation_energy == pytest.approx(2.0)
    assert seen.peak_step == 200
    assert seen.peak_force == 4.0
    assert seen.peak_energy == pytest.approx(3.0)


def test_a_pull_that_broke_nothing_has_no_work_at_the_break() -> None:
    seen = observe(curve(50), stretched(50)[:5])
    assert seen.broken_bond is None and seen.break_step is None and seen.work_at_break is None


def test_a_dump_gives_its_frames_and_leaves_out_one_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.lammpstrj"
    whole = SNAPSHOT.format(step=0, height=1.1) + SNAPSHOT.format(step=10, height=1.25)
    for cut in (SNAPSHOT.format(step=20, height=1.5)[:-3], "ITEM: TIMESTEP\n20\n", "ITEM: TIM", ""):
        path.write_text(whole + cut)
        frames = read_trajectory(path)
        assert [frame.info["step"] for frame in frames] == [0, 10]
        assert frames[1].get_chemical_symbols() == ["C", "H"]
        assert frames[1].positions[1].tolist() == [0.0, 0.0, 1.25]
        assert not frames[1].pbc.any()


def test_a_foreign_or_missing_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no configurations of a pull"):
        read_trajectory(tmp_path / "trajectory.lammpstrj")
    (tmp_path / "trajectory.lammpstrj").write_text(SNAPSHOT.format(step="x", height=1))
    with pytest.raises(SimulationError, match="expected the dump of a pull"):
        read_trajectory(tmp_path / "trajectory.lammpstrj")
