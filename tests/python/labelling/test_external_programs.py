"""Labels of an external program that works with files: none is of another frame, none survives."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import LabelError
from alrare.frames import write_frames
from alrare.labelling.batch import label
from alrare.labelling.scratch import empty, own_scratch
from alrare.labelling.store import STORE_FILE, LabelStore
from ase import Atoms

HERE = Path(__file__).parent


def frame(x):
    return Atoms("CHO", [[x, 0, 0], [x, 1.1 + 0.001 * x, 0], [x, 0, 2.0]])


def energy(atoms):
    lengths = atoms.get_all_distances()[np.triu_indices(3, 1)]
    return float(np.sum((lengths - 1.5) ** 2))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put the program into a folder, and its calculator on the import path."""
    monkeypatch.syspath_prepend(HERE)
    from file_calculator import PROGRAM

    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "springs").write_text(PROGRAM.format(python=sys.executable))
    (folder / "springs").chmod(0o755)
    (folder / "seconds").write_text("0")
    return folder


def labeller(program, name="Files"):
    command = {"command": str(program / "springs")}
    return Labeller(program="ase", calculator=f"file_calculator.{name}", arguments=command)


def assert_energies_are_of_their_frames(folder, keys):
    with LabelStore(folder / STORE_FILE) as store:
        for atoms in store.frames(keys):
            assert atoms.get_potential_energy() == pytest.approx(energy(atoms), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Files", "AbsoluteFiles"])
def test_output_of_the_frame_before_is_never_taken_for_a_label(tmp_path, program, name):
    (program / "skips").touch()
    frames = [frame(x) for x in (1, 100, 2, 101, 3)]
    done = label(frames, labeller=labeller(program, name), folder=tmp_path / "labels", workers=1)
    assert (len(done.keys), len(done.failed)) == (3, 2)
    assert all("out.dat" in failed.reason for failed in done.failed)
    assert_energies_are_of_their_frames(tmp_path / "labels", done.keys)


@pytest.mark.slow
def test_a_program_that_was_missing_is_tried_again_when_it_is_there(tmp_path, program):
    (program / "springs").rename(program / "lost")
    with pytest.raises(LabelError, match="remove the cause, then run the same command again"):
        label([frame(1)], labeller=labeller(program), folder=tmp_path, workers=1)
    (program / "lost").rename(program / "springs")
    assert label([frame(1)], labeller=labeller(program), folder=tmp_path, workers=1).computed == 1


@pytest.mark.slow
def test_a_calculator_that_works_outside_its_workers_folder_is_refused(tmp_path, program):
    with pytest.raises(LabelError, match=r"Elsewhere works in '/tmp': .*remove `directory`"):
        label([frame(1)], labeller=labeller(program, "Elsewhere"), folder=tmp_path, workers=1)


DRIVER = """
import sys
from pathlib import Path
from alrare.config import Labeller
from alrare.labelling.batch import label
from ase import Atoms

folder, command, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
frames = [Atoms("CHO", [[x, 0, 0], [x, 1.1 + 0.001 * x, 0], [x, 0, 2.0]])
          for x in range(first, first + 6)]
label(frames, folder=folder, workers=2, labeller=Labeller(
    program="ase", calculator="file_calculator.Files", arguments={"command": command}))
"""


def driver(tmp_path, program, first, source=DRIVER):
    arguments = [str(tmp_path / "labels"), str(program / "springs"), str(first)]
    path = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )


def pids(program):
    file = program / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.slow
def test_two_processes_may_label_in_one_folder(tmp_path, program):
    (program / "seconds").write_text("0.1")
    both = [driver(tmp_path, program, first) for first in (0, 3)]
    assert [process.wait() for process in both] == [0, 0]
    folder = tmp_path / "labels"
    with LabelStore(folder / STORE_FILE) as store:
        keys = store.keys()
        assert store.counts() == {"ok": 9}
    assert_energies_are_of_their_frames(folder, keys)
    assert not (folder / "scratch").exists()
    assert not (folder / "failed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_external_program_survives_the_driver(tmp_path, program, has_ended, number):
    (program / "seconds").write_text("3600")
    with driver(tmp_path, program, 0) as process:
        while len(pids(program)) < 2:
            time.sleep(0.05)
        process.send_signal(number)
        process.wait()
    assert all(has_ended(pid) for pid in pids(program))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_told_to_end_says_how_to_go_on(
    tmp_path, program, has_ended, number, status
):
    (program / "seconds").write_text("3600")
    write_frames(tmp_path / "in.extxyz", [frame(1), frame(2)])
    (tmp_path / "al.toml").write_text(
        'name = "x"\nstructure = "in.extxyz"\npull.atoms = [1, 2]\n[labeller]\nprogram = "ase"\n'
        f'calculator = "file_calculator.Files"\narguments = {{ command = "{program}/springs" }}\n'
    )
    arguments = ["label", "in.extxyz", "out.extxyz", "--config", "al.toml", "--workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "alrare", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while len(pids(program)) < 2:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == status
    assert "stopped. Nothing finished is lost; go on with: alrare label in.extxyz" in said
    assert "Traceback" not in said
    assert all(has_ended(pid) for pid in pids(program))
    assert not (tmp_path / "labels" / "scratch").exists()


def test_scratch_of_a_process_that_works_is_left_and_of_a_dead_one_removed(tmp_path):
    dead = tmp_path / f"{socket.gethostname()}-1-dead"
    elsewhere = tmp_path / "another.machine-1-working"
    for folder in (dead, elsewhere):
        folder.mkdir()
        (folder / "file").touch()
    with own_scratch(tmp_path) as first, own_scratch(tmp_path) as second:
        assert first != second
        assert sorted(tmp_path.iterdir()) == sorted([first, second, elsewhere])
    assert list(tmp_path.iterdir()) == [elsewhere]


def test_a_folder_is_emptied_but_for_what_is_kept(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/old", "old", "kept"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    empty(tmp_path, keep={tmp_path / "kept"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept"]
