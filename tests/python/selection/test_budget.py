"""Which candidates an iteration takes from its pulls."""

from pathlib import Path

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import write_frames
from alrare.selection.budget import choose
from ase import Atoms


def _pull(path: Path, steps: list[int], cv: list[float], width: list[float] | None = None) -> Path:
    frames = []
    for number, (step, distance) in enumerate(zip(steps, cv, strict=True)):
        side = 1.0 if width is None else width[number]
        frame = Atoms("C2H", positions=[[0, 0, 0], [distance, 0, 0], [0, side, 0]])
        frame.info |= {"step": step, "cv": distance}
        frames.append(frame)
    write_frames(path, frames)
    return path


def _steps(frames: list[Atoms]) -> list[tuple[int, int]]:
    return [(int(frame.info["step"]), int(frame.info["pull"])) for frame in frames]


def test_the_paper_takes_what_came_first_whichever_pull_it_came_from(tmp_path: Path) -> None:
    files = [
        _pull(tmp_path / "a.extxyz", [1001, 1500, 2000], [6.0, 6.5, 7.0]),
        _pull(tmp_path / "b.extxyz", [1200, 1500, 1600], [6.2, 6.5, 6.6]),
    ]
    chosen = choose(files, maximum=4, strategy="paper")
    assert _steps(chosen) == [(1001, 0), (1200, 1), (1500, 0), (1500, 1)]


def test_one_pull_is_cut_at_the_cap(tmp_path: Path) -> None:
    files = [_pull(tmp_path / "a.extxyz", list(range(80)), list(np.linspace(6, 9, 80)))]
    assert _steps(choose(files, maximum=50, strategy="paper")) == [(k, 0) for k in range(50)]


def test_spread_covers_the_whole_spring_distance(tmp_path: Path) -> None:
    # 90 candidates below 6.5 Å, 10 above: first come would never reach the break
    cv = [*np.linspace(6.0, 6.5, 90), *np.linspace(7.0, 9.0, 10)]
    files = [_pull(tmp_path / "a.extxyz", list(range(100)), cv)]
    chosen = choose(files, maximum=30, strategy="spread")
    taken = np.array([frame.info["cv"] for frame in chosen])
    assert len(chosen) == 30
    assert (taken > 6.9).sum() == 10
    assert [step for step, _ in _steps(chosen)] == sorted(step for step, _ in _steps(chosen))


def test_spread_goes_by_the_step_without_a_collective_variable(tmp_path: Path) -> None:
    path = _pull(tmp_path / "a.extxyz", [*range(90), 500, 600, 700], [0.0] * 93)
    path.write_text(path.read_text().replace(" cv=0.0", ""))
    assert "cv" not in path.read_text()
    taken = [step for step, _ in _steps(choose([path], maximum=5, strategy="spread"))]
    assert len(taken) == 5 and 500 in taken and {600, 700} & set(taken)


def test_spread_prefers_the_most_unlike_at_equal_distance(tmp_path: Path) -> None:
    width = [1.0, 1.001, 1.002, 3.0, 1.003]
    files = [_pull(tmp_path / "a.extxyz", list(range(5)), [7.0] * 5, width)]
    assert {step for step, _ in _steps(choose(files, maximum=2, strategy="spread"))} == {0, 3}


def test_what_came_long_after_the_break_is_not_taken(tmp_path: Path) -> None:
    files = [
        _pull(tmp_path / "a.extxyz", [100, 200, 300], [6.0, 6.5, 7.0]),
        _pull(tmp_path / "b.extxyz", [100, 200, 300], [6.0, 6.5, 7.0]),
    ]
    chosen = choose(files, maximum=9, strategy="spread", last_steps=[200, None])
    assert _steps(chosen) == [(100, 0), (100, 1), (200, 0), (200, 1), (300, 1)]


def test_spread_never_takes_a_frame_twice(tmp_path: Path) -> None:
    files = [_pull(tmp_path / "a.extxyz", list(range(9)), [7.0] * 9)]
    assert len(set(_steps(choose(files, maximum=8, strategy="spread")))) == 8


def test_a_pull_without_candidates_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "empty.extxyz").touch()
    full = _pull(tmp_path / "a.extxyz", [5], [7.0])
    files = [tmp_path / "missing.extxyz", tmp_path / "empty.extxyz", full]
    assert _steps(choose(files, maximum=50, strategy="spread")) == [(5, 2)]
    assert choose(files[:2], maximum=50, strategy="paper") == []


def test_half_a_frame_that_a_kill_left_is_not_read(tmp_path: Path) -> None:
    path = _pull(tmp_path / "a.extxyz", [5, 6, 7], [7.0, 7.1, 7.2])
    text = path.read_text()
    third = text.rindex("3\nLattice") if "3\nLattice" in text else text.rindex("3\nProperties")
    for end in range(third, len(text)):
        path.write_text(text[:end])
        assert _steps(choose([path], maximum=9, strategy="paper")) == [(5, 0), (6, 0)]
    path.write_text(text[: third // 3])
    assert choose([path], maximum=9, strategy="paper") == []
    path.write_text(text.replace("3\n", "x\n", 1))
    with pytest.raises(AlrareError, match="frame 1, line 1: expected the number of atoms"):
        choose([path], maximum=9, strategy="paper")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.extxyz", [Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])])
    with pytest.raises(AlrareError, match=r"a\.extxyz: expected frames with 'step'"):
        choose([tmp_path / "a.extxyz"], maximum=5, strategy="paper")
