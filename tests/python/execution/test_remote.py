"""Calls by workers elsewhere: repeated when a worker is lost, never for another reason."""

import os
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from alrare.errors import ProcessLostError
from alrare.execution.remote import ATTEMPTS, Call, Repeated, perform


class LostError(Exception):
    pass


def repeated(outcomes: list[Any]) -> tuple[Repeated, list[Call]]:
    """Return a `Repeated` whose calls end as listed, one after another, and the calls it made."""
    made: list[Call] = []

    def submit(call: Call) -> Future[Any]:
        made.append(call)
        future: Future[Any] = Future()
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return future

    def explain(error: BaseException) -> BaseException | None:
        return None if isinstance(error, LostError) else error

    return Repeated(submit, explain, "ask for more"), made


def test_a_call_whose_worker_is_lost_is_made_again() -> None:
    calls, made = repeated([LostError(), LostError(), 5])
    assert calls.submit(len, [1]).result() == 5
    assert len(made) == 3 and made[0] == made[2]
    assert (calls.waiting, calls.done, calls.losses) == (0, 1, 2)


def test_a_call_that_fails_is_not_made_again() -> None:
    calls, made = repeated([ValueError("no"), 5])
    with pytest.raises(ValueError, match="no"):
        calls.submit(len, [1]).result()
    assert len(made) == 1


def test_a_call_that_loses_all_its_workers_is_given_up() -> None:
    calls, made = repeated([LostError("gone")] * ATTEMPTS)
    with pytest.raises(ProcessLostError, match=r"4 workers were lost .* \(gone\); ask for more"):
        calls.submit(len, [1]).result()
    assert len(made) == ATTEMPTS


def test_a_call_is_made_as_if_by_the_process_that_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "own")
    call = Call.of(os.getcwd, ())
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "own" not in entry])
    monkeypatch.setenv("PMI_RANK", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    before = Path.cwd()
    monkeypatch.chdir(tmp_path)
    assert perform(call) == str(before)
    assert str(tmp_path / "own") in sys.path
    assert "PMI_RANK" not in os.environ and os.environ["OMP_NUM_THREADS"] == "1"
