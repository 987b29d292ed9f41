"""`alrare label` with labellers that misbehave: a right label, or a sentence, and never another."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
from alrare.cli.parser import main
from alrare.frames import read_frames
from faults.forms import FRAMES

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent / "labellers"
NOT_A_GRADIENT = "the labeller's forces are not minus the gradient of its energy"

LABELLED = ("ok", "print", "chdir", "warn")
REFUSED = {
    "none": "energy: expected a number, got None",
    "none_forces": "forces: expected (15, 3), got None",
    "shape": "forces: expected (15, 3), got (45,)",
    "shape_list": "forces: expected (15, 3), got (14, 3)",
    "nan": "the energy or a force is not finite",
    "nan_e": "the energy or a force is not finite",
    "inf_f": "the energy or a force is not finite",
    "array_e": "energy: expected a number, got (1,)",
    "array_e2": "energy: expected a number, got (2,)",
    "complex_e": "energy: expected a number, got complex",
    "str_e": "energy: expected a number, got str",
    "energy_only": "forces",
    "hang": "1 timed_out; the first: no answer in 1 s (raise `timeout`",
    "exit0": "the labeller process died (exit status 0)",
    "exit3": "the labeller process died (exit status 3)",
    "segv": "the labeller process died (SIGSEGV)",
    "sysexit": "the calculator ended its process: license expired",
    "kbd": "KeyboardInterrupt",
    "stdin": "EOFError: EOF when reading a line",
    "oom": "no memory",
    "odd_exception": "Odd: bad thing",
    "chatty_exception": "RuntimeError: line1 line1",
    "stop_iteration": "StopIteration",
    "grad": f"{NOT_A_GRADIENT}: where an atom moves",
    "hartree": "the energy is in Hartree and the forces are in eV/Å",
    "EnergyOnly": "EnergyOnly does not give what a label needs",
    "Stateful": NOT_A_GRADIENT,
    "not_a_calculator": "expected an ASE calculator, got int 42",
    "returns_none": "expected an ASE calculator, got None",
    "no dot": "calculator = 'badcalc': expected a module and a class or function in it",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder of a user: frames without labels, the calculators on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PATH", f"{HERE}:{os.environ['PATH']}")
    frames = "".join(FRAMES[:6])
    (tmp_path / "labelled.xyz").write_text(frames)
    for number in (1, 2, 6):
        atoms = ase.io.read(tmp_path / "labelled.xyz", f":{number}")
        for one in atoms:
            one.calc = None
        ase.io.write(tmp_path / f"un{number}.xyz", atoms, format="extxyz")
    return tmp_path


def label(calculator: str, *, mode: str = "", frames: str = "un2.xyz", timeout: float = 60) -> int:
    arguments = f'arguments = {{ mode = "{mode}" }}\n' if mode else ""
    Path("al.toml").write_text(
        'name = "x"\nstructure = "un2.xyz"\n[pull]\natoms = [1, 2]\n[labeller]\nprogram = "ase"\n'
        f'calculator = "{calculator}"\ntimeout = {timeout}\n{arguments}',
        encoding="utf-8",
    )
    given = ["label", frames, "out.xyz", "--config", "al.toml", "--workers", "1", "--quiet"]
    return main(given)


def badcalc() -> ModuleType:
    spec = importlib.util.spec_from_file_location("badcalc_here", HERE / "badcalc.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_labels_are_those_of_springs(number: int) -> None:
    frames = read_frames(Path("out.xyz"))
    assert len(frames) == number
    for frame in frames:
        energy, forces = badcalc().springs(frame)
        assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(frame.get_forces(), forces, atol=1e-6)


@pytest.mark.parametrize("mode", LABELLED)
def test_a_harmless_labeller_gives_its_labels(folder: Path, mode: str) -> None:
    assert label("badcalc.Base", mode=mode) == 0
    check_labels_are_those_of_springs(2)


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_labeller_gives_one_sentence_and_no_label(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    factories = ("EnergyOnly", "Stateful", "not_a_calculator", "returns_none")
    timeout = 1 if name == "hang" else 60
    if name in factories:
        status = label(f"badcalc.{name}", frames="un1.xyz")
    elif name == "no dot":
        status = label("badcalc", frames="un1.xyz")
    else:
        status = label("badcalc.Base", mode=name, frames="un1.xyz", timeout=timeout)
    error = capsys.readouterr().err
    assert status == 1 and REFUSED[name] in error, error
    assert error.startswith("alrare: ") and error.count("\n") == 1 and len(error) < 1500
    assert not Path("out.xyz").exists()


def test_a_labeller_that_fails_for_some_labels_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label("badcalc.Base", mode="half", frames="un6.xyz")
    out, error = capsys.readouterr()
    failed = out.count("RuntimeError: SCF failed here")
    assert 0 < failed < 6 and f"{6 - failed} labelled" in out, error
    check_labels_are_those_of_springs(6 - failed)


@pytest.mark.parametrize("calculator", ["Files", "AbsoluteFiles"])
def test_a_program_without_output_gives_no_label_of_another_configuration(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    calculator: str,
) -> None:
    monkeypatch.setenv("FAKE_SKIP", "1")
    label(f"badcalc.{calculator}", frames="un6.xyz")
    out, error = capsys.readouterr()
    labelled = len(read_frames(Path("out.xyz")))
    assert 0 < labelled < 6 and "out.dat" in out, out + error
    check_labels_are_those_of_springs(labelled)
    monkeypatch.delenv("FAKE_SKIP")
    assert label(f"badcalc.{calculator}", frames="un6.xyz") == 0
    check_labels_are_those_of_springs(6)
