"""Calls by workers elsewhere: repeated when a worker is lost, never for another reason."""

import os
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alrare.errors import AlrareError, ProcessLostError
from alrare.execution.remote import ATTEMPTS, GPUS_OF_JOB, Call, Repeated, perform, take_gpu


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


def test_a_worker_of_another_package_refuses() -> None:
    with pytest.raises(AlrareError, match="is another one than its driver's"):
        perform(replace(Call.of(len, ([1],)), package="other"))


@pytest.mark.parametrize(
    ("of_job", "number", "taken"),
    [("5,7", "1", "7"), ("", "1", "1"), ("GPU-a,GPU-b", "0", "GPU-a")],
)
def test_a_worker_takes_one_of_the_gpus_of_its_job(
    monkeypatch: pytest.MonkeyPatch, of_job: str, number: str, taken: str
) -> None:
    monkeypatch.setenv(GPUS_OF_JOB, of_job)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", number)
    for _ in range(2):  # of two tasks of the worker
        take_gpu()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == taken


def test_more_workers_than_gpus_of_the_job_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS_OF_JOB, "5,7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(AlrareError, match="no more than the job has, CUDA_VISIBLE_DEVICES = 5,7"):
        take_gpu()


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
