"""`alrare train` and `alrare evaluate` as tools: any extended XYZ in, or one clear message."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from alrare.cli.parser import main
from alrare.frames import labelled, write_frames
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import load_ensemble
from alrare.units import GPA
from ani_reference import random_ensemble
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def frames(n: int = 8) -> list[Atoms]:
    """Methane, ethane and diamond: two molecules and a cell."""
    made = []
    for k in range(n):
        kinds = (molecule("CH4"), molecule("C2H6"), bulk("C", "diamond", a=3.6))
        atoms = kinds[k % 3]
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        made.append(labelled(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    return made


def energy_only() -> Atoms:
    atoms = molecule("CH4")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    return atoms


def other_energy(of: Atoms) -> Atoms:
    energy, forces = of.get_potential_energy() + 1.0, of.get_forces()
    return labelled(of, energy, forces)


def nan_forces() -> Atoms:
    atoms = molecule("CH4")
    return labelled(atoms, -1.0, np.full((5, 3), np.nan))


BAD: dict[str, tuple[Callable[[], list[Atoms]], str]] = {
    "no forces": (
        lambda: [*frames(2), energy_only()],
        "frame 3 (CH4): expected an energy",
    ),
    "no label": (lambda: [*frames(2), molecule("CH4")], "got none; label it first: alrare label"),
    "nan": (lambda: [*frames(2), nan_forces()], "frame 3 (CH4): its forces must be finite"),
    "one frame": (lambda: frames(1), "at least 2 labelled"),
    "one frame twice": (lambda: frames(1) * 2, "at least 2 labelled"),
    "contradiction": (
        lambda: [*frames(3), other_energy(frames(1)[0])],
        "frame 1 (CH4), but their energies differ by 1 eV",
    ),
    "half of the isolated atoms": (
        lambda: [*frames(3), labelled(Atoms("C"), -5.0, np.zeros((1, 3)))],
        "isolated-atom energies: expected one for each of H, C, got none for H",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_data_that_cannot_be_trained_on_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    make, message = BAD[case]
    write_frames(tmp_path / "data.extxyz", make())
    given = ["train", str(tmp_path / "data.extxyz"), "-o", str(tmp_path / "model"), "--quiet"]
    assert main(given) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("alrare: ") and message in error
    assert "Traceback" not in error and not (tmp_path / "model").exists()


def test_a_file_without_frames_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.extxyz").write_text("")
    given = ["train", str(tmp_path / "data.extxyz"), "-o", str(tmp_path / "model"), "--quiet"]
    assert main(given) == 1
    assert "data.extxyz: expected" in capsys.readouterr().err


@pytest.mark.slow
def test_train_and_evaluate_are_tools_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atoms = [labelled(Atoms(e), -3.0, np.zeros((1, 3))) for e in ("H", "C")]
    write_frames(tmp_path / "one.extxyz", [*frames(), *atoms])
    repeated = frames()[3]
    repeated.info["method"] = "c" * 64  # as `alrare label` writes it
    write_frames(tmp_path / "two.extxyz", [repeated])
    given = ["train", str(tmp_path / "one.extxyz"), str(tmp_path / "two.extxyz")]
    given += ["-o", str(tmp_path / "model"), "--members", "2", "--recipe", "fast"]
    assert main([*given, "--epochs", "2", "--workers", "1"]) == 0
    out, progress = capsys.readouterr()
    assert out.strip() == str(tmp_path / "model" / "ensemble.safetensors")
    assert "1 of 9 frames repeat a configuration; each counts once" in progress
    metadata = load_ensemble(tmp_path / "model" / "ensemble.safetensors").metadata
    assert metadata.training["n_frames"] == 8
    assert metadata.method == "c" * 64
    assert metadata.training["isolated"] == {"H": -3.0, "C": -3.0}

    model, data = str(tmp_path / "model"), str(tmp_path / "two.extxyz")
    assert main(["evaluate", model, data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_frames"] == 1
    for content, message in (
        ([energy_only()], "got only energy"),
        ([nan_forces()], "its forces must be finite"),
        ([labelled(molecule("H2O"), -1.0, np.zeros((3, 3)))], "element O is unknown to a model of"),
    ):
        write_frames(tmp_path / "two.extxyz", content)
        assert main(["evaluate", model, data]) == 1
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error


def test_evaluate_prints_the_error_of_the_stress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_ensemble(members=2, elements=("C",), hidden={"C": (8,)}).save(
        tmp_path / "ensemble.safetensors"
    )
    cells = []
    for k in range(3):
        cell = bulk("C", "diamond", a=3.5 + 0.05 * k)
        cell.calc = EnsembleCalculator(tmp_path / "ensemble.safetensors")
        values = cell.get_potential_energy(), cell.get_forces()
        cells.append(labelled(cell, *values, cell.get_stress() + (k < 2) * 2.0 * GPA))
    virial = labelled(bulk("C", "diamond", a=3.7), -1.0, np.zeros((2, 3)))
    virial.info["virial"] = np.eye(3)
    write_frames(tmp_path / "cells.extxyz", [*cells, virial])
    words = ["evaluate", str(tmp_path), str(tmp_path / "cells.extxyz"), "--any-units"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "stress of 3 cells: MAE, RMSE 1.333, 1.633 GPa" in out
    assert "1 cells have 'virial' and no stress: it is not used" in err
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["detail"]["stress"]
    assert found["n"] == 27 and found["mae"] == pytest.approx(4.0 / 3.0 * GPA, rel=1e-5)
