import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alrare.config import Labeller

REPOSITORY = Path(__file__).resolve().parents[2]

# Its behavior is chosen by where the first atom is, so that one batch can hold every kind.
FAKE_LABELLER = """
import os
import signal
import subprocess
import sys
import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Fake(Calculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self, log, seconds=0.0):
        super().__init__()
        self.log, self.seconds = log, seconds

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions[0, 0]
        torch, threads = "torch" in sys.modules, os.environ.get("OMP_NUM_THREADS")
        with open(self.log, "a") as stream:
            stream.write(f"{x:.3f} {os.getpid()} {torch} {threads} {os.getcwd()}\\n")
        time.sleep(self.seconds)
        if 90 < x < 91:
            time.sleep(3600)
        if 40 < x < 41:
            child = subprocess.Popen(["sleep", "3600"])
            with open(self.log + ".child", "w") as stream:
                stream.write(str(child.pid))
            child.wait()
        if 80 < x < 81:
            os.kill(os.getpid(), signal.SIGKILL)
        if 70 < x < 71:
            raise RuntimeError("SCF did not converge in 250 cycles")
        if 60 < x < 61:
            raise KeyError("something else")
        energy = np.nan if 50 < x < 51 else 0.5 * (self.atoms.positions**2).sum()
        self.results = {"energy": energy, "forces": -self.atoms.positions}
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--dftb-cases",
        default=str(REPOSITORY.parent / "shared" / "dftb" / "cases"),
        help="folder with runs of DFTB+, one a way that a label succeeds or fails",
    )


@pytest.fixture
def dftb_cases(request: pytest.FixtureRequest) -> Path:
    folder = Path(request.config.getoption("--dftb-cases"))
    if not folder.is_dir():
        pytest.skip(f"runs of DFTB+ are not at {folder} (--dftb-cases)")
    return folder


@pytest.fixture
def dftb(dftb_cases: Path) -> Labeller:
    """DFTB3/3OB by the real program."""
    if shutil.which("dftb+") is None:
        pytest.skip("dftb+ is not on PATH")
    return Labeller(program="dftb+", slater_koster=dftb_cases.parent / "3ob", timeout=60.0)


@pytest.fixture
def lmp() -> str:
    beside_python = Path(sys.executable).with_name("lmp")
    program = str(beside_python) if beside_python.is_file() else shutil.which("lmp")
    if program is None:
        pytest.skip("lmp is not installed")
    return program


@pytest.fixture
def fake_labeller(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Dotted path of a calculator that logs each call and fails on demand."""
    folder = tmp_path_factory.mktemp("fake")
    (folder / "fake_labeller.py").write_text(FAKE_LABELLER)
    monkeypatch.syspath_prepend(folder)
    return "fake_labeller.Fake"


@pytest.fixture
def has_ended() -> Callable[[int], bool]:
    """Tell whether a process is gone, or a zombie that nobody has fetched, within 10 s."""

    def ended(pid: int) -> bool:
        for _ in range(200):
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except FileNotFoundError:
                return True
            if state == "Z":
                return True
            time.sleep(0.05)
        return False

    return ended
