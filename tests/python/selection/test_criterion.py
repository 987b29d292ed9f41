"""The fix's criterion on frames: who is chosen, what is written, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from alrare.cli.parser import main
from alrare.config import Select
from alrare.errors import AlrareError
from alrare.frames import is_labelled, labelled, read_frames, write_frames
from alrare.model.ensemble import load_ensemble
from alrare.progress import SilentProgress
from alrare.selection.criterion import FrameSelection, select_frames
from ani_reference import evaluate, random_ensemble
from ase import Atoms
from ase.build import molecule


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "ensemble.safetensors"
    random_ensemble(members=3, hidden={"H": (8, 8)}, hidden_default=(8, 8), seed=4).save(path)
    return path


@pytest.fixture
def frames() -> list[Atoms]:
    """Ethanes whose bond grows in 40 steps, every one labelled."""
    stretched = []
    for number in range(40):
        atoms = molecule("C2H6")
        atoms.positions[atoms.positions[:, 2] > 0, 2] += 0.02 * number
        atoms.info["step"] = 10 * number
        stretched.append(labelled(atoms, -1.0, np.zeros((8, 3))))
    return stretched


def choose(frames: list[Atoms], model: Path, **settings: object) -> FrameSelection:
    atoms = settings.pop("atoms", (1, 2))
    return select_frames(
        frames,
        model=model,
        select=Select(**{"screening_steps": 10, "energy_gap": 0.0, **settings}),
        atoms=atoms,  # type: ignore[arg-type]
        progress=SilentProgress(),
    )


def test_the_selection_is_what_the_paper_describes(frames: list[Atoms], model: Path) -> None:
    result = choose(frames, model, sigma=0.5, cv_gap=0.05, max_per_run=6)
    energies = evaluate(load_ensemble(model), frames).energies
    uq, distance = energies.std(axis=0, ddof=1), [f.get_distance(0, 1) for f in frames]
    threshold = uq[:10].mean() + 0.5 * uq[:10].std(ddof=1)
    picked: list[int] = []
    for k in range(10, 40):
        far = all(abs(distance[k] - distance[other]) > 0.05 for other in picked)
        if uq[k] > threshold and far and len(picked) < 6:
            picked.append(k)
    assert [frame.info["step"] for frame in result.frames] == [10 * k for k in picked]
    assert len(picked) > 2
    assert result.threshold == pytest.approx(threshold, rel=1e-4)
    assert sum(result.verdicts.values()) == 40 and result.verdicts["screening"] == 10


def test_a_candidate_carries_what_the_fix_writes_and_no_label(
    frames: list[Atoms], model: Path
) -> None:
    energy = choose(frames, model, threshold=1e-9).frames[0]
    force = choose(frames, model, threshold=1e-9, uncertainty="force").frames[0]
    usual = ["step", "cv", "member_energies", "energy_std", "threshold"]
    assert list(energy.info) == usual
    assert sorted(force.info) == sorted([*usual, "force_std"])
    assert not is_labelled(energy)
    members = evaluate(load_ensemble(model), [force]).forces[0]
    per_atom = np.sqrt((members.std(axis=0, ddof=1) ** 2).mean(axis=1))
    assert force.info["force_std"] == pytest.approx(per_atom.max(), rel=1e-4)


def test_frames_too_near_or_not_a_number_are_unphysical(frames: list[Atoms], model: Path) -> None:
    frames[3].positions[1] = frames[3].positions[0] + 0.01
    frames[5].positions[0, 0] = np.nan
    result = choose(frames, model, threshold=1e-9, cv_gap=0.0)
    assert result.verdicts == {
        "screening": 0, "below": 0, "unphysical": 2, "too_similar": 0, "over_cap": 0, "selected": 38
    }  # fmt: skip


def test_the_nearest_periodic_image_counts(model: Path) -> None:
    atoms = Atoms("CH", [[0.1, 5, 5], [9.8, 5, 5]], cell=[10.0] * 3, pbc=True)
    near = choose([atoms], model, threshold=1e-9, min_distance=0.31)
    assert near.verdicts["unphysical"] == 1
    fine = choose([atoms], model, threshold=1e-9, min_distance=0.29)
    assert fine.frames[0].info["cv"] == pytest.approx(0.3)


def test_a_cv_in_the_file_is_used_when_no_atoms_are_named(frames: list[Atoms], model: Path) -> None:
    settings = {"threshold": 1e-9, "cv_gap": 0.5, "atoms": None}
    without = choose(frames, model, **settings)
    assert len(without.frames) == 40 and "cv" not in without.frames[0].info
    for number, frame in enumerate(frames):
        frame.info["cv"] = 0.2 * number
    assert [f.info["step"] for f in choose(frames, model, **settings).frames] == list(
        range(0, 400, 30)
    )


def test_steps_are_those_of_the_file_or_the_numbers_of_the_frames(
    frames: list[Atoms], model: Path
) -> None:
    for number, frame in enumerate(frames):
        del frame.info["step"]
        if number < 2:
            frame.info["Timestep"] = 5000 + number
    steps = [f.info["step"] for f in choose(frames, model, threshold=1e-9, cv_gap=0).frames]
    assert steps[:4] == [5000, 5001, 2, 3]


@pytest.mark.parametrize("atoms", [(1, 1), (0, 2), (1, 9)])
def test_atoms_that_are_not_there_are_named(
    frames: list[Atoms], model: Path, atoms: tuple[int, int]
) -> None:
    with pytest.raises(AlrareError, match=r"expected two different atoms of each frame, from 1 to"):
        choose(frames, model, atoms=atoms)


def test_a_single_member_has_no_uncertainty(frames: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    random_ensemble(members=1, hidden={"H": (8, 8)}, hidden_default=(8, 8)).save(path)
    with pytest.raises(AlrareError, match="1 member; the uncertainty needs at least 2"):
        choose(frames, path)


def test_the_command_writes_the_frames_and_prints_the_counts(
    frames: list[Atoms], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "pull.extxyz", frames)
    out = tmp_path / "c.extxyz"
    command = ["select", str(tmp_path / "pull.extxyz"), str(model.parent), "-q", "-o", str(out)]
    command += ["--atoms", "1", "2", "--energy-gap", "0", "--cv-gap", "0", "--threshold"]
    assert main([*command, "1e-9", "--max", "7"]) == 0
    text = capsys.readouterr().out
    assert "over cap               33" in text and "selected               7" in text
    assert len(read_frames(out)) == 7
    assert main([*command, "1e9", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["steps"] == [] and content["verdicts"]["below"] == 40
    assert out.read_text() == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sigma", "-1"], "--sigma -1: expected a number above 0"),
        (["--max", "0"], "--max-per-run 0: expected at least 1"),
        (["--relative", "0.1"], "alrare: relative and relative_floor go together"),
        (["--cv-gap", "0.1"], "--cv-gap: which distance? Give --atoms I J"),
        (["--screening-steps", "1"], "selection: threshold adaptive: screening_steps must be >= 2"),
    ],
)
def test_a_wrong_option_is_explained(
    frames: list[Atoms],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    write_frames(tmp_path / "pull.extxyz", frames)
    assert main(["select", str(tmp_path / "pull.extxyz"), str(model), "-q", *options]) == 1
    assert message in capsys.readouterr().err
