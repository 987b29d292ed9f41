import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alrare.execution.executor import Kind, LocalExecutor, Workers, task_pool
from alrare.processes import Stopped, end_signals_as_ctrl_c, worker_count, worker_pool


def test_workers_compute_with_one_thread_and_the_driver_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with worker_pool(1) as pool:
        seen = pool.submit(os.getenv, "OMP_NUM_THREADS").result()
    assert seen == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_interrupted_pool_ends_its_workers_at_once(has_ended):
    pid = None
    with pytest.raises(KeyboardInterrupt), worker_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 3600)
        raise KeyboardInterrupt
    assert has_ended(pid)


def test_workers_die_with_a_driver_that_is_killed(has_ended):
    driver = (
        "import os, time\n"
        "from alrare.processes import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 3600).result()\n"
    )
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert has_ended(pid)


def test_zero_workers_means_one_for_each_core():
    assert worker_count(0) == len(os.sched_getaffinity(0))
    assert worker_count(3) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_like_ctrl_c_inside_the_block_and_leaves_no_trace(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as stop, end_signals_as_ctrl_c():
            os.kill(os.getpid(), number)
            time.sleep(10)
        assert stop.value.number == number
        assert isinstance(stop.value, KeyboardInterrupt)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with end_signals_as_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.1)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from math import sqrt\nfrom alrare.processes import worker_pool\nprint('once')\n"
        "with worker_pool(2) as pool:\n"
        "    print([pool.submit(sqrt, x).result() for x in (4.0, 9.0)])\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert run.stdout == "once\n[2.0, 3.0]\n"


def test_an_executor_in_a_block_trains_all_stages_in_the_same_processes() -> None:
    def of_stage(workers: Workers, kind: Kind) -> int:
        with task_pool(workers, kind) as submit:
            return int(submit(os.getpid).result())

    with LocalExecutor(1) as kept:
        first = of_stage(kept, "train")
        assert of_stage(kept, "train") == first
        assert of_stage(kept, "run") != of_stage(kept, "run")
        with pytest.raises(KeyboardInterrupt), task_pool(kept, "train") as submit:
            submit(time.sleep, 60.0)
            raise KeyboardInterrupt
        wait_until_ended(first)
        second = of_stage(kept, "train")
        assert second != first
        os.kill(second, signal.SIGKILL)  # while it is idle
        with kept.pool("train") as pool:
            deadline = time.monotonic() + 30.0
            while not pool.is_broken:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        last = of_stage(kept, "train")
        assert last != second
    wait_until_ended(last)
    alone = LocalExecutor(1)
    assert of_stage(alone, "train") != of_stage(alone, "train")


def test_what_an_executor_keeps_is_opened_once_and_closed_after_an_error_and_at_the_end() -> None:
    events: list[str] = []

    @contextmanager
    def resource() -> Iterator[int]:
        events.append("open")
        try:
            yield len(events)
        finally:
            events.append("close")

    with LocalExecutor(1) as executor:
        for _ in range(2):
            with executor.kept("this", resource) as opened:
                assert opened == 1
        with pytest.raises(KeyboardInterrupt), executor.kept("this", resource):
            raise KeyboardInterrupt
        assert events == ["open", "close"]
        with executor.kept("this", resource), executor.kept("that", resource):
            pass
        assert events == ["open", "close", "open", "open"]
    assert events == ["open", "close", "open", "open", "close", "close"]
    with executor.kept("this", resource):
        assert events[-1] == "open"
    assert events[-1] == "close"


def wait_until_ended(pid: int) -> None:
    """Wait until a process is no more, or its parent only has not asked for its exit status."""
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 30.0
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)
