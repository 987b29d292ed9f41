"""Data files as users have them: read like good.xyz, or refused in a sentence that says why."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from alrare.cli.parser import main
from alrare.model.ensemble import load_ensemble
from ani_reference import random_ensemble
from faults.forms import DAMAGED, FRAMES, GOOD, SAME, isolated

KEYS = "--energy-key KEY"
CP2K = "a file of CP2K: docs/training.md shows how to join its files"
UNITS = "expected energies in eV, forces (minus the gradient) in eV/Å and positions in Å"
REFUSED: dict[str, tuple[str, ...]] = {
    "ref_keys.xyz": ("frame 1 (C5H8O2)", "REF_energy", KEYS, "REF_forces", "--forces-key KEY"),
    "dft_keys.xyz": ("frame 1 (C5H8O2)", "dft_energy", KEYS, "dft_forces", "--forces-key KEY"),
    "energy_force.xyz": ("got only energy, but force of each atom", "--forces-key KEY"),
    "gradients.xyz": ("got only energy, but gradient of each atom", "--forces-key KEY"),
    "hartree_all.xyz": ("the forces may be in hartree/bohr", UNITS),
    "hartree_E_only.xyz": ("the energies may be in hartree", UNITS),
    "sign_flipped.xyz": ("the forces may be gradients, of the opposite sign", UNITS),
    "bohr_positions.xyz": ("the positions may be in bohr", UNITS),
    "two_charges.xyz": ("charge 0, multiplicity 1", "charge +1, multiplicity 2", "frame 31"),
    "two_charges_distinct.xyz": ("frame 31 (C5H8O2) has charge +1", "train one model for each"),
    "dummyX.xyz": ("frame 1 (", "atom 1 is of no known element; remove dummy atoms (X)"),
    "truncated.xyz": ("frame 59: expected 15 atoms, got", "the file is cut off"),
    "truncated_at_line.xyz": ("frame 60: expected 15 atoms, got 7: the file is cut off",),
    "empty.xyz": ("expected at least one frame with atoms, found none",),
    "comma.xyz": ("frame 1, line 3: expected a number, got '0,07874433'", "with a point"),
    "mixed_unlabelled.xyz": ("frame 8 (C5H8O2): expected an energy and forces, got none",),
    "nan_energy.xyz": ("frame 5 (C5H8O2): its energy must be finite",),
    "nan_force.xyz": ("frame 6 (C5H8O2): its forces must be finite",),
    "huge_force.xyz": ("frame 6 (C5H8O2): a force of 1e+05 eV/Å is impossible",),
    "dups_contradict.xyz": ("frame 61 (C5H8O2) is the same configuration as", "differ by 0.01 eV"),
    "latin1.xyz": ("line 2: expected UTF-8 text, got the byte 0xfc; save the file as UTF-8",),
    "cp2k-pos-1.xyz": ("frame 1 (C5H8O2): expected", CP2K),
    "cp2k-frc-1.xyz": ("frame 1 (C5H8O2): expected", CP2K),
    "ani_like.h5": ("expected a structure file", "docs/training.md shows how to convert"),
    "rmd17_like.npz": ("expected a structure file", "docs/training.md shows how to convert"),
}


def test_every_damaged_file_is_in_the_table() -> None:
    assert REFUSED.keys() == DAMAGED.keys()


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_data_are_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name]())
    given = ["train", str(tmp_path / name), "-o", str(tmp_path / "model"), "--members", "2"]
    assert main([*given, "--epochs", "2", "--quiet"]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("alrare: ") and error.count("\n") == 1
    for words in REFUSED[name]:
        assert words in error
    assert name in error or "60 frames" in error
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an untrained model: whatever reads the same data finds the same errors of it."""
    path = tmp_path_factory.mktemp("model") / "ensemble.safetensors"
    random_ensemble(
        elements=("H", "C", "O"), members=2, hidden={"H": (16, 8)}, hidden_default=(16, 8)
    ).save(path)
    return path


def errors_on(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["evaluate", str(model), str(data), "--json"]) == 0, capsys.readouterr().err
    errors: dict[str, object] = json.loads(capsys.readouterr().out)
    return errors


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.xyz").write_text(GOOD, encoding="utf-8")
    return tmp_path / "good.xyz"


@pytest.mark.parametrize("name", SAME)
def test_good_data_in_odd_clothes_say_the_same(
    good: Path, model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = good.with_name(name)
    data.write_bytes(SAME[name]())
    expected, got = errors_on(model, good, capsys), errors_on(model, data, capsys)
    assert got["n_frames"] == expected["n_frames"] == 60
    for key in ("energy_mae", "force_mae", "calibration"):
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-6)
    (offset,), (as_expected,) = got["offsets"].values(), expected["offsets"].values()
    shift = 1e6 if name == "offset_1e6.xyz" else 0.0
    assert offset - as_expected == pytest.approx(shift, abs=1e-6)


@pytest.mark.parametrize("name", ["ref_keys.xyz", "dft_keys.xyz", "energy_force.xyz"])
def test_the_options_named_cure_other_keys(
    good: Path, model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = good.with_name(name)
    data.write_bytes(DAMAGED[name]())
    expected = errors_on(model, good, capsys)
    keys = {
        "ref_keys.xyz": ("REF_energy", "REF_forces"),
        "dft_keys.xyz": ("dft_energy", "dft_forces"),
    }
    energy, forces = keys.get(name, ("energy", "force"))
    options = ["--energy-key", energy, "--forces-key", forces, "--json"]
    assert main(["evaluate", str(model), str(data), *options]) == 0
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("name", ["hartree_all.xyz", "sign_flipped.xyz", "bohr_positions.xyz"])
def test_evaluate_refuses_other_units_too(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name]())
    assert main(["evaluate", str(model), str(tmp_path / name)]) == 1
    assert UNITS in capsys.readouterr().err


def test_the_lines_of_the_documentation_convert_files_of_cp2k(
    good: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    for name in ("cp2k-pos-1.xyz", "cp2k-frc-1.xyz"):
        Path(name).write_bytes(DAMAGED[name]())
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n([^`]*cp2k-pos[^`]*)```", text)
    exec(lines, {})
    expected, got = (errors_on(model, path, capsys) for path in (good, Path("cp2k.extxyz")))
    for key in ("energy_mae", "force_mae"):
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-4)


def train(data: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """Train as a user does; return the model and what was printed."""
    folder = data.with_name(f"model of {data.name}")
    given = ["train", str(data), "-o", str(folder), "--members", "2", "--epochs", "2"]
    assert main([*given, "--recipe", "fast", "--workers", "1"]) == 0
    out, progress = capsys.readouterr()
    return folder / "ensemble.safetensors", out + progress


@pytest.mark.slow
def test_good_data_in_odd_clothes_give_the_same_model(
    good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = [train(good, capsys)[0]]
    for name in ("free_energy.xyz", "dups.xyz"):
        data = good.with_name(name)
        dups = GOOD + "".join(FRAMES[:20])
        data.write_bytes(SAME[name]() if name in SAME else dups.encode())
        path, told = train(data, capsys)
        assert ("20 of 80 frames repeat a configuration" in told) == (name == "dups.xyz")
        trained.append(path)
    first, *others = [load_ensemble(path).weights for path in trained]
    for weights in others:
        assert weights.keys() == first.keys()
        for key, values in first.items():
            np.testing.assert_array_equal(weights[key], values)


@pytest.mark.slow
def test_two_frames_are_enough(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good.write_text("".join(FRAMES[:2]), encoding="utf-8")
    path, _ = train(good, capsys)
    assert load_ensemble(path).metadata.training["n_frames"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("lattice", ["", 'Lattice="20 0 0 0 20 0 0 0 20" pbc="T T T" '])
def test_isolated_atoms_are_taken_as_such_and_said_so(
    good: Path, capsys: pytest.CaptureFixture[str], lattice: str
) -> None:
    good.write_bytes(isolated(lattice))
    path, told = train(good, capsys)
    training = load_ensemble(path).metadata.training
    assert training["n_frames"] == 60 and training["isolated"]["O"] == -2037.796869412825
    assert "isolated" in told
