"""The jobs of a campaign: what `alrare status` says of them, and the end of those that are left."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import AlrareError
from ..files import read_json

JOBS_FOLDER = "jobs"
"""Folder of Parsl's own files in the run folder."""
STATE_FILE = "jobs.json"
"""File in it of what `alrare status` shows of the jobs, and of those that are to be canceled."""
_OLD = 30.0  # s
_LONGEST = 60.0  # s, for the end of jobs


def jobs_text(folder: Path) -> str:
    """Return lines about tasks and jobs; empty if the campaign has no jobs.

    Parameters
    ----------
    folder : Path
        The run folder.
    """
    path = folder / JOBS_FOLDER / STATE_FILE
    if not path.is_file():
        return ""
    state = read_json(path)
    age = time.time() - state["time"]
    ended = state.get("ended", False)
    when = ", when the driver ended" if ended else ""
    if not ended and age > _OLD:
        when = f", as of {age:.0f} s ago: the driver was killed, or its disk is slow"
    lines = []
    for kind, count in state["tasks"].items():
        running = min(count.get("running", 0), count["waiting"])
        now = [] if ended else [f"{count['waiting'] - running} queued", f"{running} running"]
        left = [f"{count['waiting']} left"] if ended else []
        lost = [f"{count['workers lost']} workers lost"] if count["workers lost"] else []
        lines.append(f"  {kind:6} " + ", ".join([*now, f"{count['done']} done", *left, *lost]))
    for name, job in state["jobs"].items():
        said = f": {job['message']}" if job["message"] else ""
        lines.append(f"  job {job['id']} ({name}) {job['state']}{said}")
    return "\n".join([f"tasks elsewhere{when}", *lines])


def cancel_left(state: Path) -> None:
    """Cancel the jobs of a driver that was killed, and wait for their end.

    Parameters
    ----------
    state : Path
        `STATE_FILE`; the tasks of its jobs will be submitted again.

    Raises
    ------
    AlrareError
        If jobs do not end.
    """
    content = read_json(state) if state.is_file() else {}
    # In a copy of a run folder the numbers may be those of another cluster's jobs.
    jobs = content["submitted"] if content.get("folder") == str(state.parent) else []
    for provider in sorted({name for name, _ in jobs if name}):
        ids = [job for name, job in jobs if name == provider]
        ids = [one for one in ids if _is_ours(provider, one, state.parent)]
        if not ids:
            continue
        _cancel(provider, ids)
        deadline = time.monotonic() + _LONGEST
        while _any_left(provider, ids, state.parent):
            if time.monotonic() > deadline:
                raise AlrareError(
                    f"{state}: the jobs {' '.join(ids)} ({provider}) of an earlier run of this"
                    " campaign do not end; end them, then run the same command again"
                )
            time.sleep(0.5)
    if jobs:
        state.unlink()


_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "slurm": (("scancel",), ("squeue", "-h", "-o", "%i", "-j")),
    "pbs": (("qdel",), ("qstat",)),
    "lsf": (("bkill",), ("bjobs", "-noheader", "-r")),
}
"""How jobs are canceled, and how those that are not at their end are listed; ids follow."""


def _cancel(provider: str, ids: Sequence[str]) -> None:
    if provider == "local":
        for one in ids:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(int(one)), signal.SIGKILL)
    else:
        _run([*_COMMANDS[provider][0], *ids])


def _any_left(provider: str, ids: Sequence[str], folder: Path) -> bool:
    if provider == "local":
        return any(_is_ours("local", one, folder) for one in ids)
    last = [",".join(ids)] if provider == "slurm" else ids
    listed = _run([*_COMMANDS[provider][1], *last])
    if listed.returncode and not re.search("invalid|unknown|not found", listed.stderr.lower()):
        return True  # the batch system does not answer
    return bool(listed.stdout.strip())


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise AlrareError(
            f"{error.filename}: no such program here, and jobs of an earlier run of this campaign"
            " may be there: start it again where the batch system is"
        ) from error


def _is_ours(provider: str, job: str, folder: Path) -> bool:
    """Whether a process of this machine belongs to a campaign; of a batch system all do."""
    if provider != "local":
        return True
    try:
        words = Path(f"/proc/{job}/cmdline").read_bytes()
    except OSError:
        return False
    return str(folder).encode() in words
