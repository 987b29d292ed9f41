import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import AlrareError, LabelError
from alrare.execution.executor import LocalExecutor
from alrare.labelling.batch import label, require_labels
from alrare.labelling.failures import ATTEMPTS, LabelFailure
from alrare.labelling.store import LabelStore
from alrare.labelling.worker import LabelWorker
from alrare.progress import SilentProgress
from ase import Atoms


def frame(x):
    return Atoms("CH", [[x, 0, 0], [x, 1.1, 0]])


@pytest.fixture
def batch(tmp_path, fake_labeller):
    """Label frames, given by where their first atom is, with the calculator that logs calls."""

    def run(*where, workers=2, timeout=20.0, seconds=0.0, retry=False):
        return label(
            [frame(x) for x in where],
            labeller=Labeller(
                program="ase",
                calculator=fake_labeller,
                arguments={"log": str(tmp_path / "log"), "seconds": seconds},
                timeout=timeout,
            ),
            store_path=tmp_path / "labels.sqlite",
            folder=tmp_path / "labels",
            workers=workers,
            progress=SilentProgress(),
            origin="iteration 1",
            retry=retry,
        )

    return run


@pytest.fixture
def calls(tmp_path):
    """How often each frame was computed so far, but for the moved ones of the gradient check."""

    def count():
        log = tmp_path / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        where = (float(line.split()[0]) for line in lines)
        return Counter(x for x in where if (20 * x).is_integer())

    return count


def stored(tmp_path, keys):
    with LabelStore(tmp_path / "labels.sqlite") as store:
        return store.frames(keys)


@pytest.mark.slow
def test_a_label_is_never_computed_twice(tmp_path, batch, calls):
    first = batch(1.0, 2.0, 1.0, 3.0)
    assert (len(first.keys), first.computed, first.reused, first.failed) == (3, 3, 0, ())
    again = batch(3.0, 4.0, 1.0)
    assert (again.computed, again.reused) == (1, 2)
    assert set(calls().values()) == {1}
    frames = stored(tmp_path, again.keys)
    assert [f.positions[0, 0] for f in frames] == [3.0, 4.0, 1.0]
    assert frames[1].get_potential_energy() == pytest.approx(0.5 * (16 + 16 + 1.21))
    np.testing.assert_allclose(frames[1].get_forces(), -frames[1].positions)
    assert frames[1].info["origin"] == "iteration 1"
    with LabelStore(tmp_path / "labels.sqlite") as store:
        assert store.methods()[frames[1].info["method"]]["program"] == "ase"


def test_nothing_to_label_starts_nothing(batch, calls):
    assert batch().keys == ()
    assert not calls()


@pytest.mark.slow
def test_every_failure_is_recorded_with_its_reason_and_the_others_go_on(tmp_path, batch):
    result = batch(1.0, 70.5, 60.5, 50.5, 2.0)
    assert (len(result.keys), result.computed) == (2, 2)
    assert {f.kind for f in result.failed} == {"not_converged", "crashed", "unphysical"}
    with LabelStore(tmp_path / "labels.sqlite") as store:
        assert store.counts() == {"ok": 2, "not_converged": 1, "crashed": 1, "unphysical": 1}
    lost = next(f for f in result.failed if f.kind == "not_converged")
    assert "SCF did not converge" in lost.reason
    kept = tmp_path / "labels" / "failed" / lost.key[:16]
    assert "SCF did not converge" in (kept / "reason.txt").read_text()
    assert (kept / "frame.extxyz").is_file()
    assert not (tmp_path / "labels" / "scratch").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_hanging_labeller_fails_its_label_alone(batch, workers):
    result = batch(1.0, 90.5, 2.0, 3.0, workers=workers, timeout=1.0)
    assert [f.kind for f in result.failed] == ["timed_out"]
    assert len(result.keys) == 3


@pytest.mark.slow
def test_a_hanging_labeller_is_ended_with_what_it_started(tmp_path, fake_labeller, has_ended):
    log = str(tmp_path / "log")
    worker = LabelWorker(
        Labeller(program="ase", calculator=fake_labeller, arguments={"log": log}, timeout=2.0),
        tmp_path / "scratch",
    )
    try:
        with pytest.raises(LabelFailure, match="no answer in 2 s"):
            worker.evaluate(frame(40.5))
        assert has_ended(int((tmp_path / "log.child").read_text()))
        assert worker.evaluate(frame(1.0)).energy == pytest.approx(0.5 * (2 + 1.21))
    finally:
        worker.end()


@pytest.mark.slow
def test_a_labeller_that_kills_its_process_fails_its_label_alone(batch, calls):
    result = batch(1.0, 80.5, 2.0, 3.0, workers=1)
    assert [(f.kind, "SIGKILL" in f.reason) for f in result.failed] == [("crashed", True)]
    assert len(result.keys) == 3
    assert calls() == {1.0: 1, 2.0: 1, 3.0: 1, 80.5: ATTEMPTS["crashed"]}


@pytest.mark.slow
def test_a_failure_that_may_pass_is_tried_again(batch, calls):
    with pytest.raises(LabelError, match="1 timed_out"):
        batch(90.5, timeout=0.5)
    assert calls() == {90.5: ATTEMPTS["timed_out"]}


@pytest.mark.slow
def test_a_failure_of_the_configuration_itself_is_tried_once_and_again_if_told_so(batch, calls):
    for _ in range(2):
        result = batch(1.0, 70.5, 50.5)
    assert calls() == {1.0: 1, 70.5: 1, 50.5: 1}
    assert len(result.failed) == 2
    batch(1.0, 70.5, 50.5, retry=True)
    assert calls() == {1.0: 1, 70.5: 2, 50.5: 2}


@pytest.mark.slow
def test_a_failure_whose_cause_may_be_gone_is_tried_again_by_the_next_batch(batch, calls, tmp_path):
    assert len(batch(1.0, 80.5, 60.5).failed) == 2
    assert calls() == {1.0: 1, 80.5: ATTEMPTS["crashed"], 60.5: ATTEMPTS["crashed"]}
    (tmp_path / "log.cured").touch()
    assert batch(1.0, 80.5, 60.5).failed == ()
    assert not list((tmp_path / "labels" / "failed").iterdir())


@pytest.mark.slow
def test_workers_killed_at_random_lose_no_label_and_repeat_none(tmp_path, batch, calls):
    """Outsiders (the kernel short of memory, an operator) kill workers that did nothing wrong."""
    rng, stop, killed, log = np.random.default_rng(1), threading.Event(), [], tmp_path / "log"

    def kill(most):
        while most and not stop.wait(0.3):
            lines = log.read_text().splitlines() if log.exists() else []
            pids = {int(line.split()[1]) for line in lines[-3:]} - set(killed)
            if pids:
                killed.append(int(rng.choice(sorted(pids))))
                most -= 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    where = np.arange(60) / 2 + 0.25
    for begin in range(0, len(where), 15):
        # No frame of a batch can be struck so often that it counts as the cause.
        killer = threading.Thread(target=kill, args=(ATTEMPTS["crashed"] - 1,))
        killer.start()
        try:
            result = batch(*where[begin : begin + 15], workers=3, seconds=0.05)
        finally:
            stop.set()
            killer.join()
            stop.clear()
        assert (len(result.keys), result.computed, result.failed) == (15, 15, ())
    assert killed
    # Only what a killed worker had under way was computed again.
    assert sum(calls().values()) <= len(where) + len(killed)
    assert not (tmp_path / "labels" / "failed").exists() or not any(
        (tmp_path / "labels" / "failed").iterdir()
    )


def test_a_worker_killed_while_it_has_nothing_to_do_is_replaced(tmp_path, fake_labeller):
    log = tmp_path / "log"
    labeller = Labeller(program="ase", calculator=fake_labeller, arguments={"log": str(log)})
    worker = LabelWorker(labeller, tmp_path / "worker")
    try:
        first = worker.evaluate(frame(1.0))
        pid = int(log.read_text().split()[1])
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert worker.evaluate(frame(1.0)).energy == first.energy
    finally:
        worker.end()


@pytest.mark.slow
@pytest.mark.parametrize("program", ["tblite", "ase"])
def test_a_campaign_keeps_the_processes_of_a_labeller_but_not_those_of_a_calculator(
    program, tmp_path, fake_labeller, monkeypatch, has_ended
):
    """A calculator may hold a license, or much memory."""
    started = []
    start = LabelWorker._start

    def counted(worker):
        start(worker)
        started.append(worker._process.pid)

    monkeypatch.setattr(LabelWorker, "_start", counted)
    labeller = Labeller(program="tblite")
    if program == "ase":
        log = {"log": str(tmp_path / "log")}
        labeller = Labeller(program="ase", calculator=fake_labeller, arguments=log)
    with LocalExecutor(1) as executor:
        for x in (1.0, 2.0, 3.0):
            moved = frame(x)
            moved.positions[1, 1] += 0.01 * x
            label([moved], labeller=labeller, folder=tmp_path, workers=executor)
        assert len(started) == (1 if program == "tblite" else 3)
    assert all(has_ended(pid) for pid in started)
    assert not (tmp_path / "scratch").exists()


@pytest.mark.slow
def test_too_many_failures_stop_and_say_why(batch, tmp_path):
    done = batch(1.0, 70.5, 70.6, 50.5)
    require_labels(done, max_failed=0.75, folder=tmp_path)
    with pytest.raises(
        LabelError, match=r"3 of 4 labels failed, more than max_failed = 0\.7 .*2 not_converged, 1"
    ):
        require_labels(done, max_failed=0.7, folder=tmp_path)
    require_labels(batch(), max_failed=0.0, folder=tmp_path)


@pytest.mark.slow
def test_a_batch_of_which_nothing_could_be_labelled_stops_and_says_why(batch):
    with pytest.raises(LabelError, match=r"all 3 labels failed: 2 not_converged, 1 crashed;.*kept"):
        batch(70.1, 70.2, 60.5)


@pytest.mark.slow
def test_one_new_failure_beside_reused_labels_does_not_stop(batch):
    batch(1.0)
    assert batch(1.0, 70.5).reused == 1


@pytest.mark.slow
def test_a_frame_that_is_no_number_is_a_failure_like_others(batch):
    result = batch(1.0, float("nan"))
    assert [f.kind for f in result.failed] == ["unphysical"]


@pytest.mark.slow
def test_a_missing_calculator_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"no_such\.Thing"):
        label(
            [frame(1.0)],
            labeller=Labeller(program="ase", calculator="no_such.Thing"),
            store_path=tmp_path / "labels.sqlite",
            folder=tmp_path,
            workers=1,
            progress=SilentProgress(),
        )


@pytest.mark.slow
def test_workers_have_no_torch_one_thread_and_a_folder_of_their_own(tmp_path, batch):
    batch(*np.arange(12.0), seconds=0.2)  # both workers take part
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert {(torch, threads) for _, _, torch, threads, _ in lines} == {("False", "1")}
    folders = {pid: folder for _, pid, _, _, folder in lines}
    first, second = (Path(folder) for folder in sorted(folders.values()))
    assert (first.name, second.name, first.parent) == ("0", "1", second.parent)
    assert first.parent.parent == tmp_path / "labels" / "scratch"


DRIVER = """
import sys
from pathlib import Path
from alrare.config import Labeller
from alrare.labelling.batch import label
from alrare.progress import SilentProgress
from ase import Atoms

folder, calculator = Path(sys.argv[1]), sys.argv[2]
label(
    [Atoms("CH", [[x, 0, 0], [x, 1.1, 0]]) for x in range(12)],
    labeller=Labeller(program="ase", calculator=calculator,
                      arguments={"log": str(folder / "log"), "seconds": 0.2}, timeout=20.0),
    store_path=folder / "labels.sqlite", folder=folder / "labels", workers=2,
    progress=SilentProgress(), origin="iteration 1")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_driver_leaves_no_process_and_repeats_no_label(
    tmp_path, fake_labeller, batch, calls, has_ended, number
):
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), fake_labeller],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    ) as driver:
        while sum(calls().values()) < 5:
            time.sleep(0.02)
        driver.send_signal(number)
        driver.wait()
    assert driver.returncode != 0
    workers = {int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()}
    assert all(has_ended(pid) for pid in workers)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        finished = {round(frame.positions[0, 0]) for frame in store.frames(store.keys())}
    result = batch(*range(12), seconds=0.2)
    assert len(result.keys) == 12
    assert result.reused == len(finished) >= 1
    # Only what was under way, a label a worker, was started a second time.
    assert sum(calls().values()) <= 12 + 4
    assert all(n == 1 for x, n in calls().items() if x in finished)


def test_a_disk_that_refuses_is_named(tmp_path, batch):
    (tmp_path / "labels.sqlite").mkdir()
    with pytest.raises(AlrareError, match=r"labels\.sqlite: .*no finished label is lost"):
        batch(1.0)
