"""The settings of pulls that are kept in their folders: what differs is named."""

from pathlib import Path
from typing import Any

import pytest
from alrare.cli.parser import main
from alrare.config import Labeller, Pull
from alrare.errors import AlrareError
from alrare.exploration.kept_settings import check_comparable, settings_of_input
from alrare.exploration.lammps_input import md_input, pull_input, write_data_file
from alrare.exploration.smd import pull_with_labeller
from alrare.files import locked
from ase import Atoms
from ase.build import molecule
from ase.io import write

PULL = Pull(atoms=(1, 2), seeds=(1, 2))


def _pulled(folder: Path, structure: Atoms, pull: Pull = PULL, timestep: float = 0.5) -> Path:
    """Make the parts of finished pulls that tell with what they were made."""
    for seed in pull.seeds:
        inside = folder / f"pull_{seed}"
        text = pull_input(potential="pair_style zero 5.0", pull=pull, seed=seed, timestep=timestep)
        inside.mkdir(parents=True)
        (inside / "in.smd").write_text(text)
        write_data_file(inside / "molecule.data", structure, ("H", "C"))
    return folder


def _compare(folder: Path, structure: Atoms, timestep: float = 0.5, **changes: Any) -> str:
    pull = PULL.model_copy(update=changes)
    return check_comparable(folder, structure=structure, pull=pull, timestep=timestep)


def test_pulls_of_the_same_settings_are_compared(tmp_path: Path) -> None:
    ethane = molecule("C2H6")
    folder = _pulled(tmp_path, ethane)
    ethane.rotate(30, "x")
    assert _compare(folder, ethane) == ""
    assert _compare(folder, ethane, seeds=(2, 3)) == ""
    ethane.set_distance(0, 1, 1.6)
    assert "another configuration of the molecule" in _compare(folder, ethane)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"atoms": (1, 3)}, r"atoms \(1 and 2, now 1 and 3\)"),
        ({"rate": 2.0}, r"rate \(1, now 2\)"),
        ({"spring": 5.0}, r"spring \(10, now 5\)"),
        ({"temperature": 300.0}, r"temperature \(10, now 300\)"),
        ({"thermostat": "berendsen"}, r"thermostat \(langevin, now berendsen\)"),
        ({"damping_time": 0.2}, r"damping_time \(0.1, now 0.2\)"),
        ({"relax_steps": 10}, r"relax_steps \(2000, now 10\)"),
        ({"steps": 10}, r"steps \(6500, now 10\)"),
        ({"timestep": 1.0}, r"timestep \(0.0005, now 0.001\)"),
    ],
)
def test_pulls_of_other_settings_are_not(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    ethane = molecule("C2H6")
    with pytest.raises(AlrareError, match=f"pull_1: cannot be compared: .* another {named}; pull"):
        _compare(_pulled(tmp_path, ethane), ethane, **changes)


def test_pulls_of_another_molecule_or_other_seeds_are_not(tmp_path: Path) -> None:
    folder = _pulled(tmp_path, molecule("C2H6"))
    with pytest.raises(AlrareError, match=r"molecule \(C2H6, now CH4, or its order\)"):
        _compare(folder, molecule("CH4"))
    with pytest.raises(AlrareError, match="holds no pull with one of the seeds 8, 9"):
        _compare(folder, molecule("C2H6"), seeds=(8, 9))


def test_the_command_refuses_before_it_pulls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ethane = molecule("C2H6")
    write(tmp_path / "ethane.xyz", ethane)
    folder = _pulled(tmp_path / "other", ethane)
    for seed in PULL.seeds:
        (folder / f"pull_{seed}" / "work.dat").write_text(
            "# step distance target force work potential_energy temperature\n0 1 1 0 0 0 10\n"
        )
        write(folder / f"pull_{seed}" / "trajectory.extxyz", ethane)
    given = ["smd", str(tmp_path), str(tmp_path / "ethane.xyz"), "-o", str(tmp_path / "out")]
    assert main([*given, "--atoms", "1", "2", "--rate", "3", "--against", str(folder)]) == 1
    assert "rate (1, now 3)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_input_without_a_pull_has_the_other_settings() -> None:
    text = md_input(
        potential="", temperature=500.0, damping_time=0.1, seed=1, timestep=0.5,
        equilibration_steps=10, steps=20,
    )  # fmt: skip
    assert settings_of_input(text) == {
        "temperature": "500", "thermostat": "langevin", "damping_time": "0.1",
        "timestep": "0.0005", "relax_steps": "10", "steps": "20",
    }  # fmt: skip


def test_pulls_by_a_model_are_not_taken_for_those_of_the_labeller(tmp_path: Path) -> None:
    (tmp_path / "pull_1").mkdir()
    with pytest.raises(AlrareError, match=r"pull_1: .* \(not by the labeller\); .* another -o DIR"):
        _pull(tmp_path)


def test_one_process_at_a_time_pulls_into_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlrareError, match="another alrare is at work in this"):
        _pull(tmp_path)


def _pull(folder: Path) -> None:
    pull_with_labeller(
        labeller=Labeller(), structure=molecule("C2H6"), pull=PULL, folder=folder, workers=1
    )
