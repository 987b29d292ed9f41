"""Training the members of an ensemble in parallel, and once more those that went astray."""

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from statistics import median
from typing import Any

from .. import config
from ..execution.executor import Workers, task_pool
from ..processes import result_of
from ..progress import Progress
from .member_task import MemberTask, heartbeats, run_task
from .trainer import count_epochs

_POLL = 0.5
ASTRAY = 1.5
"""A member whose error is this many times the median of the others has gone astray."""


def train_members(
    tasks: list[MemberTask], settings: config.Train, workers: Workers, progress: Progress
) -> list[MemberTask]:
    """Train the members that are not finished; once more, from other weights, those astray.

    Parameters
    ----------
    tasks : list of MemberTask
        One per member.
    settings : config.Train
    workers : Workers
        Where members are trained.
    progress : Progress
        Is told which loss ran away and which members went astray.

    Returns
    -------
    list of MemberTask
        Of each member the better attempt.
    """
    _train(tasks, settings, workers, progress)
    metrics = [task.result()[1] for task in tasks]
    for task, own in zip(tasks, metrics, strict=True):
        halvings = own["halvings"]
        if halvings:
            progress.message(
                f"member {task.number}: its loss ran away, and its learning rate was halved"
                f" {halvings} time{'s' if halvings > 1 else ''}"
            )
    numbers = astray(metrics)
    if settings.recipe == "paper":  # which trains each member once
        for number in numbers:
            ratio = excess(metrics, number)
            progress.message(f"member {number} has {ratio:.1f} times the error of the others")
        return tasks
    second = [tasks[number].again() for number in numbers]
    _train(second, settings, workers, progress)
    chosen = list(tasks)
    for number, task in zip(numbers, second, strict=True):
        first, before = metrics[number], excess(metrics, number)
        metrics[number] = task.result()[1]
        after = excess(metrics, number)
        if after < before:
            chosen[number] = task
        else:
            metrics[number] = first
        left = "; it is still far off" if min(before, after) > ASTRAY else ""
        anew = "with other batches" if task.start else "from other, random weights"
        progress.message(
            f"member {number} had {before:.1f} times the error of the others, {after:.1f} times"
            f" when trained again {anew}; the better is kept{left}"
        )
    return chosen


def worth_of_start(tasks: Sequence[MemberTask], method: str) -> str:
    """Return a sentence about the earlier model that members started from.

    Parameters
    ----------
    tasks : sequence of MemberTask
        First attempts, finished.
    method : str
        Hash of the method of its labels; empty if it names none.
    """
    metrics = [task.result()[1] for task in tasks]

    def mean(when: str, error: str) -> float:
        return float(sum(entry[when][error] for entry in metrics) / len(metrics))

    def shown(when: str) -> str:
        energy, force = (1000.0 * mean(when, error) for error in ("energy_rmse", "force_mae"))
        return f"energy RMSE {energy:.1f} meV, force MAE {force:.0f} meV/Å"

    worse = mean("kept", "loss") > mean("at_start", "loss")
    own = tasks[0].metadata.method
    other = "; its labels were by another method" if method and own and method != own else ""
    advice = "; training made it worse (if it has not seen these data): do without" if worse else ""
    return (
        f"start {tasks[0].start}: on validation data {shown('at_start')}; after training"
        f" {shown('kept')}{advice}{other}"
    )


def _train(
    tasks: list[MemberTask], settings: config.Train, workers: Workers, progress: Progress
) -> None:
    tasks = [task for task in tasks if not task.is_finished()]
    if not tasks:
        return
    tasks[0].folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        task.heartbeat.unlink(missing_ok=True)
    total = sum(count_epochs(settings, len(task.split.train)) for task in tasks)
    with (
        progress.stage("training epochs", total=total) as stage,
        task_pool(workers, "train") as submit,
    ):
        futures: list[Future[None]] = [submit(run_task, task) for task in tasks]
        pending = set(futures)
        while pending:
            _, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
            stage.update(*heartbeats(tasks))
            for future in futures:
                if future.done():
                    result_of(future, f"training ({tasks[0].folder.name})")
    for task in tasks:
        task.heartbeat.unlink(missing_ok=True)


def excess(metrics: Sequence[Mapping[str, Any]], number: int) -> float:
    """Return a member's error over the median of the others, of energies or forces, the larger.

    Parameters
    ----------
    metrics : sequence of mappings
        Of all members, as in training.json; the errors on all data are compared.
    number : int
        Of the member, from 0.
    """
    if len(metrics) < 2:
        return 1.0

    def ratio(error: str) -> float:
        own = metrics[number]["all"][error]
        others = median(m["all"][error] for k, m in enumerate(metrics) if k != number)
        return float(own / max(others, 1e-12))

    return max(ratio("energy_mae"), ratio("force_mae"))


def astray(metrics: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the members whose `excess` is above `ASTRAY`."""
    return [k for k in range(len(metrics)) if excess(metrics, k) > ASTRAY]
