"""A labeller that fails on demand, and whether a process has ended."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
        if os.path.exists(self.log + ".cured"):
            x = 0.0
        if 80 < x < 81:
            os.kill(os.getpid(), signal.SIGKILL)
        if 70 < x < 71:
            raise RuntimeError("SCF did not converge in 250 cycles")
        if 60 < x < 61:
            raise KeyError("something else")
        energy = np.nan if 50 < x < 51 else 0.5 * (self.atoms.positions**2).sum()
        self.results = {"energy": energy, "forces": -self.atoms.positions}
"""


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
