"""The benchmarks measure nothing here, but what they import must be there."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("[!_]*.py")))
def test_a_benchmark_starts(script: str) -> None:
    command = [sys.executable, str(FOLDER / script), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "usage: " in result.stdout, result.stderr
