"""Work beside the main thread: in order, errors are raised, and nobody waits after Ctrl-C."""

import subprocess
import sys
import threading
import time

import pytest
from alrare.background import Background


def test_actions_are_done_in_order_beside_the_main_thread() -> None:
    done: list[tuple[int, bool]] = []
    begun = threading.Event()
    go_on = threading.Event()

    def first() -> None:
        begun.set()
        go_on.wait(10.0)
        done.append((1, threading.current_thread() is threading.main_thread()))

    with Background() as beside:
        beside.start(first)
        assert begun.wait(10.0) and not done  # this thread goes on meanwhile
        go_on.set()
        beside.start(lambda: done.append((2, False)))
    assert done == [(1, False), (2, False)]


def test_an_error_is_raised_by_whoever_waits_next_and_only_once() -> None:
    def fail() -> None:
        raise ValueError("no disk")

    with Background() as beside:
        beside.start(fail)
        with pytest.raises(ValueError, match="no disk"):
            beside.start(lambda: None)
        beside.wait()
        beside.start(fail)
        with pytest.raises(ValueError, match="no disk"):
            beside.wait()
    with pytest.raises(ValueError, match="no disk"), Background() as beside:
        beside.start(fail)


def test_nobody_waits_after_ctrl_c() -> None:
    go_on = threading.Event()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Background() as beside:
        beside.start(lambda: go_on.wait(60.0) and None)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30.0
    go_on.set()


LEFT_BEHIND = """
import sys, time
from alrare.background import Background, end_process
try:
    with Background() as beside:
        beside.start(lambda: time.sleep(60.0))
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("stopped")
    sys.exit(end_process(130))
"""


def test_what_is_left_behind_does_not_hold_up_the_end_of_the_process() -> None:
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "stopped\n", "")
    assert time.monotonic() - began < 30.0
