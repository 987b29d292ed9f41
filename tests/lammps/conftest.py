"""A real lmp from the environment's bin, and what its runs leave behind."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from alrare import plugin

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


def find_program(name: str) -> str:
    """Path of a program of this environment, else of the PATH; skips the test without it."""
    found = shutil.which(name, path=str(BIN)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def plugin_folder() -> Path:
    """Folder of the plugin: the installed one, else LAMMPS_PLUGIN_PATH, else build/dev."""
    named = os.environ.get("LAMMPS_PLUGIN_PATH", "").split(":")
    for folder in (plugin.folder(), *named, str(ROOT / "build" / "dev")):
        if folder and (Path(folder) / plugin.PLUGIN_FILE).is_file():
            return Path(folder)
    pytest.fail("the LAMMPS plugin is not built: run `make test`, or build the dev preset")


def on_device(text: str, device: str) -> str:
    """Return an input whose models, if it names no engine or other device, run there."""
    if re.search(r" (device|engine) ", text):
        return text
    return re.sub(r"^(pair_style .*?\bnnp_ensemble)\b", rf"\1 device {device}", text, flags=re.M)


@pytest.fixture(scope="session")
def rounding(pytestconfig: pytest.Config) -> float:
    """By how much two evaluations of one `ensemble.pt` may differ: torch adds up what has one
    index in any order on a CUDA device, and in one order on the CPU.
    """
    return 1e-6 if pytestconfig.getoption("--device").startswith("cuda") else 0.0


@pytest.fixture(scope="session")
def run_lmp(
    plugin_folder: Path, pytestconfig: pytest.Config
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``run_lmp(text, *, cwd, ranks=1, args=(), timeout=300)``.

    It writes `text` to ``cwd/in.test``, runs lmp on it, and returns the finished process whatever
    its exit status, both streams as text. With --device, every model is evaluated there.
    """
    device = pytestconfig.getoption("--device")

    def run(
        text: str, *, cwd: Path, ranks: int = 1, args: tuple[str, ...] = (), timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        (cwd / "in.test").write_text(text if device == "auto" else on_device(text, device))
        command = [find_program("lmp"), "-in", "in.test", "-nocite", *args]
        if ranks > 1:
            command = [find_program("mpiexec"), "-n", str(ranks), *command]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if str(plugin_folder) != plugin.folder():  # an installed one announces itself
            environment["LAMMPS_PLUGIN_PATH"] = str(plugin_folder)
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def read_thermo() -> Callable[[str], list[dict[str, np.ndarray]]]:
    """Return a function: the text of a log to one table per run, column name to (rows,) array."""

    def read(text: str) -> list[dict[str, np.ndarray]]:
        tables = []
        for block in re.findall(r"^( *Step .*?)^Loop time", text, re.MULTILINE | re.DOTALL):
            lines = block.splitlines()
            names = lines[0].split()
            rows = [line.split() for line in lines[1:] if re.match(r"\s*\d+ ", line)]
            values = np.array(rows, dtype=float).reshape(-1, len(names))
            tables.append(dict(zip(names, values.T, strict=True)))
        return tables

    return read


@pytest.fixture(scope="session")
def read_dump() -> Callable[[Path], np.ndarray]:
    """Return a function: a custom dump whose first column is id to (frames, atoms, columns - 1)."""

    def read(path: Path) -> np.ndarray:
        frames = []
        for block in path.read_text().split("ITEM: TIMESTEP\n")[1:]:
            rows = np.array([line.split() for line in block.splitlines()[8:]], dtype=float)
            frames.append(rows[np.argsort(rows[:, 0]), 1:])
        return np.array(frames)

    return read
