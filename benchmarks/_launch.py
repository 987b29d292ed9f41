"""A program in a process of its own, with its time and its memory."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_LAUNCHER = """
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
wall = time.monotonic() - begin
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps([wall, memory, done.stdout]))
sys.exit(done.returncode)
"""
"""A small process starts the program: what a parent holds at the fork counts as its memory."""


class Launched(NamedTuple):
    """What a program that has ended took, and printed."""

    wall: float
    """Wall time, s."""
    memory: float
    """The most that it, or one process that it started, held, MB."""
    output: str


def launch(
    folder: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Launched:
    """Run a program in a folder; end this one with the program's output if it fails."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, *command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Launched(*json.loads(done.stdout))
