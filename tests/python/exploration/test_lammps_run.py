"""Running LAMMPS as a program: what is counted, what a failure says, what a killed run leaves."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alrare.errors import BlownUpError, SimulationError
from alrare.exploration.lammps_input import INPUT_FILE
from alrare.exploration.lammps_run import (
    end_process,
    find_program,
    lammps_command,
    run_lammps,
)


def program(folder: Path, body: str) -> str:
    """Write a stand-in for lmp: a Python program that starts with `body`."""
    path = folder / "lmp"
    path.write_text(f"#!{sys.executable}\nimport os, subprocess, sys, time\n{body}\n")
    path.chmod(0o755)
    return str(path)


def failure(folder: Path, body: str) -> SimulationError:
    with pytest.raises(SimulationError) as caught:
        run_lammps([program(folder, body)], folder=folder)
    return caught.value


def test_steps_are_counted_over_all_runs_of_an_input(tmp_path: Path) -> None:
    body = (
        "print('3 atoms'); print('   Step  Temp'); print('  0 1.0'); print(' 10 1.0')\n"
        "print('Loop time of 1'); print('17 neighbors'); print('   Step  Temp')\n"
        "print('  0 1.0'); print(' 25 1.0'); print('Loop time of 1')"
    )
    steps: list[int] = []
    run_lammps([program(tmp_path, body)], folder=tmp_path, on_step=steps.append)
    assert steps == [0, 10, 10, 35]


def test_lammps_reads_the_input_in_its_folder_with_one_thread(tmp_path: Path) -> None:
    body = "open('seen', 'w').write(' '.join(sys.argv[1:] + [os.environ['OMP_NUM_THREADS']]))"
    run_lammps([program(tmp_path, body)], folder=tmp_path)
    assert (tmp_path / "seen").read_text() == f"-in {INPUT_FILE} -log log.lammps -nocite 1"


def test_a_missing_program_is_named_with_its_cure(tmp_path: Path) -> None:
    message = r"^/nowhere/lmp: no such program; set `lmp` in \[run\] of al\.toml"
    with pytest.raises(SimulationError, match=message):
        run_lammps(["/nowhere/lmp"], folder=tmp_path)


def test_a_file_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "lmp").touch(mode=0o644)
    with pytest.raises(SimulationError, match="lmp: not a program that may be run"):
        run_lammps([str(tmp_path / "lmp")], folder=tmp_path)


def test_the_error_of_lammps_is_told_with_the_place_of_its_log(tmp_path: Path) -> None:
    body = (
        "print('Reading'); print('ERROR: Unknown command: pul (in.cpp:1)'); print('Last command')"
    )
    error = failure(tmp_path, body + "; sys.exit(1)")
    assert f"lmp failed in {tmp_path}: ERROR: Unknown command: pul (in.cpp:1)" in str(error)
    assert f"(whole log: {tmp_path / 'log.lammps'})" in str(error)
    assert not isinstance(error, BlownUpError)


def test_without_an_error_the_last_lines_or_the_status_are_told(tmp_path: Path) -> None:
    error = failure(tmp_path, "for k in range(9): print(f'line {k}')\nsys.exit(3)")
    assert "line 5\nline 6\nline 7\nline 8" in str(error) and "line 4" not in str(error)
    assert "exit status 3" in str(failure(tmp_path, "sys.exit(3)"))


@pytest.mark.parametrize("reason", ["Lost atoms: original 8 current 7", "Non-numeric pressure"])
def test_a_structure_that_blew_up_is_an_error_of_its_own(tmp_path: Path, reason: str) -> None:
    error = failure(tmp_path, f"print('ERROR: {reason}'); sys.exit(1)")
    assert isinstance(error, BlownUpError) and reason in str(error)


def test_a_number_that_lammps_cannot_read_is_no_blown_up_structure(tmp_path: Path) -> None:
    reason = "Integer 99999999999 in input script or data file is out of range"
    assert not isinstance(failure(tmp_path, f"print('ERROR: {reason}'); sys.exit(1)"), BlownUpError)
    reason = "Out of range atoms - cannot compute PPPM"
    assert isinstance(failure(tmp_path, f"print('ERROR: {reason}'); sys.exit(1)"), BlownUpError)


def test_a_lammps_without_the_plugin_is_sent_to_alrare_check(tmp_path: Path) -> None:
    error = failure(tmp_path, "print('ERROR: Unrecognized pair style x'); sys.exit(1)")
    assert "this LAMMPS does not load the alrare plugin: `alrare check` says why" in str(error)


RANKS = """
ranks = [subprocess.Popen(['sleep', '3600']) for _ in range(2)]
print('   Step  Temp')
print(os.getpid(), flush=True)
for rank in ranks:
    print(rank.pid, flush=True)
time.sleep(3600)
"""


def test_an_interrupted_run_ends_with_the_ranks_it_started(
    tmp_path: Path, has_ended: Callable[[int], bool]
) -> None:
    pids: list[int] = []

    def interrupt(pid: int) -> None:
        pids.append(pid)
        if len(pids) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_lammps([program(tmp_path, RANKS)], folder=tmp_path, on_step=interrupt)
    assert all(has_ended(pid) for pid in pids)


def test_another_thread_can_end_a_run(tmp_path: Path, has_ended: Callable[[int], bool]) -> None:
    pids: list[int] = []
    enders: list[threading.Timer] = []

    def end_later(process: object) -> None:
        enders.append(threading.Timer(0.5, end_process, [process]))
        enders[0].start()

    with pytest.raises(SimulationError):
        run_lammps(
            [program(tmp_path, RANKS)], folder=tmp_path, on_step=pids.append, on_start=end_later
        )
    enders[0].join()
    assert all(has_ended(pid) for pid in pids)


def test_programs_of_this_environment_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert find_program("lmp") == "lmp"
    for folder in ("other", "bin"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lmp").touch(mode=0o755)
        assert find_program("lmp") == str(tmp_path / folder / "lmp")
    assert find_program("/other/lmp") == "/other/lmp"


def test_one_rank_needs_no_mpiexec() -> None:
    assert lammps_command("/x/lmp", 1) == ["/x/lmp"]
    launcher, *rest = lammps_command("/x/lmp", 4)
    assert Path(launcher).name == "mpiexec" and rest == ["-n", "4", "/x/lmp"]


def test_ranks_are_started_by_the_launcher() -> None:
    assert lammps_command("/x/lmp", 1, "srun -n {ranks}") == ["/x/lmp"]
    assert lammps_command("/x/lmp", 4, "/y/srun --overlap -n {ranks}") == [
        "/y/srun", "--overlap", "-n", "4", "/x/lmp",
    ]  # fmt: skip
