"""`make install` on a bare machine, with stand-ins for Python and pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
# lacks what matches $LACKS; makes a .venv whose programs only keep a log
echo "python $*" >> "$LOG"
case "$*" in
  *"$LACKS"*) exit 1 ;;
  "-m venv --clear "*)
    mkdir -p "$4/bin"
    for name in python pip; do
      printf '#!/bin/sh\\necho "%s $*" >> "$LOG"\\n' $name > "$4/bin/$name"
      chmod +x "$4/bin/$name"
    done ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Run `make install` in a copy of the source; return it and what was started for it."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    clone, log = tmp_path / "clone", tmp_path / "log"
    for name in ("src", "cmake", "python", "tests/cpp"):
        (clone / name).mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "cmake/check_machine.sh"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "CMakeLists.txt").touch()
    stand_in = tmp_path / "python3"
    stand_in.write_text(PYTHON)
    stand_in.chmod(0o755)

    def run(*words, lacks="nothing"):
        log.write_text("")
        finished = subprocess.run(
            ["make", "install", f"PYTHON={stand_in}", *words],
            cwd=clone,
            env={"PATH": os.environ["PATH"], "LOG": str(log), "LACKS": lacks},
            capture_output=True,
            text=True,
            check=False,
        )
        return finished, log.read_text().splitlines()

    return run


def test_a_second_run_starts_nothing(make):
    first, started = make()
    assert first.returncode == 0, first.stderr
    assert any(line.startswith("pip ") and line.endswith("torch==2.13.0") for line in started)
    second, started = make()
    assert second.returncode == 0
    assert started == []


@pytest.mark.parametrize(
    ("words", "lacks", "message"),
    [
        (["PYTHON=/nowhere/python3"], "nothing", "no /nowhere/python3 here: install Python 3.11"),
        ([], "version_info", "is older than Python 3.11: install a later one and name it"),
        ([], "ensurepip", "lacks its venv module: install it (Debian: python3-venv)"),
        ([], "Python.h", "lacks its headers: install them (Debian: python3-dev)"),
        (["CXX=/nowhere/g++"], "nothing", "no C++ compiler '/nowhere/g++': install one"),
    ],
)
def test_what_a_bare_machine_lacks_is_named_until_it_is_there(make, words, lacks, message):
    for _ in range(2):
        finished, started = make(*words, lacks=lacks)
        assert finished.returncode != 0
        assert message in finished.stderr
        assert not any(line.startswith("pip ") for line in started)
    finished, _ = make()
    assert finished.returncode == 0
