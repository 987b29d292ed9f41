"""Run the workers of a job for as long as their driver lives.

A program of its own, which imports nothing of alrare: `block.py STATE BEGAN COMMAND...` runs the
command, Parsl's process_worker_pool.py. BEGAN is when its driver began, which writes the file STATE
every few seconds. All of the job ends when the file says that this driver has ended or that a later
one has begun, and when it has not been written for some time: the driver was killed, perhaps before
this job began. And workers end when what started them was killed, be it this program itself: it is
two processes, each of which ends the job when the other is killed.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""The driver may be silent for so many seconds; its file is on a disk that may be slow."""
_POLL = 5.0
_PR_SET_PDEATHSIG = 1


def main(state: Path, began: float, command: list[str]) -> int:
    """Run the command; return its exit status."""
    child = os.fork()
    if child == 0:
        _end_job_when_killed(os.getppid())
        os._exit(_run(state, began, command))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        _end_others()
    return abs(status)


def _end_job_when_killed(parent: int) -> None:
    """End the job when the parent process ends, which only a kill makes it do."""

    def end(*_: object) -> None:
        _end_others()
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        end()


def _run(state: Path, began: float, command: list[str]) -> int:
    process = subprocess.Popen(command)
    seen, since = _read(state), time.monotonic()
    while True:
        try:
            status = process.wait(_POLL)
        except subprocess.TimeoutExpired:
            now = _read(state)
            if now != seen:
                seen, since = now, time.monotonic()
            latest = now.get("began", began)
            said = ""
            if latest > began or (latest == began and now.get("ended")):
                said = "the driver has ended"
            elif time.monotonic() - since > PATIENCE:
                said = f"not written for {PATIENCE:g} s: the driver has ended"
            if said:
                _end_others()
                print(f"{state}: {said}", flush=True)
                return 1
            continue
        if status < 0:
            _end_others()
        return abs(status)


def _read(state: Path) -> dict[str, Any]:
    try:
        content = json.loads(state.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _end_others() -> None:
    """Kill the pool and the workers that it has left: the process group but what waits for us."""
    members = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent, group = path.read_text().rpartition(")")[2].split()[1:3]
        except (OSError, ValueError):
            continue
        if int(group) == os.getpgrp():
            members[int(path.parent.name)] = int(parent)
    ours: int | None = os.getpid()
    while ours in members:
        ours = members.pop(ours)
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
