"""The workers of a job end with their driver, whose sign of life is a file."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alrare.execution import block, jobs

POOL = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
{then}
"""


def start(tmp_path: Path, then: str, patience: float) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a stand-in for a pool with one worker; return the program and both their numbers."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(block.__file__).parent)!r}); import block;"
        f" from pathlib import Path; block.PATIENCE = {patience}; block._POLL = 0.1;"
        f" sys.exit(block.main(Path({str(tmp_path / 'jobs.json')!r}), 2.5, sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, sys.executable, "-c", POOL.format(then=then)],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as said:
        pids = [int(word) for word in said.readline().split()]
    return process, pids


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


Ended = Callable[[int], bool]


def test_a_job_ends_when_its_driver_is_silent(tmp_path: Path, has_ended: Ended) -> None:
    process, pids = start(tmp_path, "time.sleep(600)", patience=0.5)
    assert process.wait(20) == 1
    assert all(map(has_ended, pids))


def test_a_job_goes_on_while_its_driver_writes(tmp_path: Path) -> None:
    process, pids = start(tmp_path, "time.sleep(600)", patience=1.0)
    for number in range(20):  # the driver before it has ended, which is nothing to this job
        began, ended = (2.5, "false") if number else (1.5, "true")
        text = f'{{"began": {began}, "ended": {ended}, "time": {number}}}'
        (tmp_path / "jobs.json").write_text(text)
        time.sleep(0.1)
    assert process.poll() is None and all(map(alive, pids))
    assert process.wait(20) == 1


@pytest.mark.parametrize("said", ['"began": 2.5, "ended": true', '"began": 7.5, "ended": false'])
def test_a_job_ends_with_its_driver_or_when_a_later_one_has_begun(
    tmp_path: Path, has_ended: Ended, said: str
) -> None:
    process, pids = start(tmp_path, "time.sleep(600)", patience=600.0)
    (tmp_path / "jobs.json").write_text(f"{{{said}}}")
    assert process.wait(20) == 1
    assert all(map(has_ended, pids))


def test_workers_end_with_a_pool_that_is_killed_and_stay_with_one_that_ends(
    tmp_path: Path, has_ended: Ended
) -> None:
    process, pids = start(tmp_path, "time.sleep(600)", patience=60.0)
    os.kill(pids[0], 9)
    assert process.wait(20) == 9
    assert all(map(has_ended, pids))
    process, pids = start(tmp_path, "child.kill()\nsys.exit(3)", patience=60.0)
    assert process.wait(20) == 3


@pytest.mark.parametrize("which", ["the parent", "its child"])
def test_workers_end_when_the_program_that_watches_them_is_killed(
    tmp_path: Path, has_ended: Ended, which: str
) -> None:
    process, pids = start(tmp_path, "time.sleep(600)", patience=60.0)
    pool = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    os.kill(process.pid if which == "the parent" else int(pool[1]), 9)
    process.wait(20)
    assert all(map(has_ended, pids))


def test_jobs_of_a_copied_run_folder_are_not_canceled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "jobs.json"
    monkeypatch.setattr(jobs, "_cancel", lambda provider, ids: pytest.fail("canceled"))
    state.write_text('{"folder": "/elsewhere/jobs", "submitted": [["slurm", "17"]]}')
    jobs.cancel_left(state)


def test_where_the_batch_system_is_not_its_jobs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "jobs.json"
    monkeypatch.setenv("PATH", str(tmp_path))
    state.write_text(f'{{"folder": "{tmp_path}", "submitted": [["slurm", "17"]]}}')
    with pytest.raises(jobs.AlrareError, match="scancel: no such program here"):
        jobs.cancel_left(state)
    assert state.is_file()
