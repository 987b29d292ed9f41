"""Computing the labels of a batch: several workers, repeated attempts, one commit for each label.

The first good label of a method also starts its gradient check (`labelling.gradient`), by the same
workers.
"""

import queue
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ..config import Labeller
from ..errors import LabelError
from ..execution.executor import Workers, executor_of, local_part
from ..progress import Progress
from .elsewhere import LabelsElsewhere, forget, take_over
from .failures import ATTEMPTS, LabelFailure
from .gradient import Step, contradiction, displaced, energy_changes
from .scratch import own_scratch
from .store import LabelStore
from .worker import Label, LabelWorker, keep_failed

_CHECKED_FRAMES = 3  # tried, if the moved configurations of the first cannot be labelled


@dataclass(frozen=True)
class Asked:
    """What is the same for all labels of a batch."""

    origin: str
    """Purpose of the labels, stored with them."""
    method: str
    """Hash of the method, stored with them."""


def compute(
    frames: dict[str, Atoms],
    *,
    labeller: Labeller,
    store: LabelStore,
    folder: Path,
    workers: Workers,
    progress: Progress,
    asked: Asked,
) -> None:
    """Compute labels and commit each, good or failed, as soon as it has ended.

    Parameters
    ----------
    frames : dict from str to Atoms
        At least one, by the key of its label.
    labeller : Labeller
        The `[labeller]` table.
    store : LabelStore
        Open.
    folder : Path
        Has the workers' folders in `scratch/`, and receives those of failed labels in `failed/`.
    workers : Workers
        Where they are computed.
    progress : Progress
        Receives one stage that counts the labels.
    asked : Asked

    Raises
    ------
    LabelError
        If the forces of the method are not minus the gradient of its energy.
    AlrareError
        If the disk refuses.
    """
    failures, attempts = 0, Counter[str]()
    with (
        _workers(labeller, workers, folder, len(frames)) as pool,
        progress.stage("label", total=len(frames)) as stage,
    ):
        check = _GradientCheck(store, asked.method, pool.submit)

        def submit(key: str) -> Future[Label]:
            return pool.submit(frames[key], folder / "failed" / key[:16], key)

        finished = take_over(folder, frames)
        with store.transaction():
            for key, label in finished.items():
                _store(store, key, frames[key], label, asked)
        tasks = {submit(key): key for key in frames if key not in finished}
        while tasks or check.tasks:
            ended = wait([*tasks, *check.tasks], return_when=FIRST_COMPLETED).done
            for task in ended:
                _raise_if_broken(task)
            # Labels that end during a commit, which waits for the disk, share the next commit.
            with store.transaction():
                for task in ended & tasks.keys():
                    key = tasks.pop(task)
                    failure = _record(store, key, frames[key], task, asked)
                    if failure is None:
                        check.begin(frames[key], task.result())
                        continue
                    attempts[key] += 1
                    if attempts[key] < ATTEMPTS.get(failure.kind, 0):
                        tasks[submit(key)] = key
                    else:
                        failures += 1
            check.end()
            stage.update(len(frames) - len(tasks), note=f"{failures} failed" if failures else "")
    forget(folder, store)


def check_gradient(
    frame: Atoms,
    *,
    labeller: Labeller,
    store: LabelStore,
    folder: Path,
    workers: Workers,
    method: str,
) -> None:
    """Make the gradient check of a method on a frame, whose label is not kept.

    Nothing is said if the frame cannot be labelled; other arguments as in `compute`.

    Raises
    ------
    LabelError
        If the forces of the method are not minus the gradient of its energy.
    """
    with _workers(labeller, workers, folder, 1) as pool:
        check = _GradientCheck(store, method, pool.submit)
        with suppress(LabelFailure):
            check.begin(frame, pool.submit(frame).result())
        wait(check.tasks)
        check.end()


@contextmanager
def _workers(
    labeller: Labeller, workers: Workers, folder: Path, n_frames: int
) -> "Iterator[_Workers | LabelsElsewhere]":
    executor = executor_of(workers)
    if not executor.is_here("label"):
        with LabelsElsewhere(labeller, executor, folder) as elsewhere:
            yield elsewhere
        return
    size = executor.size("label")
    if labeller.program == "ase":  # a calculator may hold much memory, or a license
        with _here(labeller, folder, min(size, n_frames)) as here:
            yield here
        return
    name = ("label", labeller.model_dump_json(), folder)
    with local_part(executor, "label").kept(name, lambda: _here(labeller, folder, size)) as kept:
        yield kept


@contextmanager
def _here(labeller: Labeller, folder: Path, size: int) -> "Iterator[_Workers]":
    with own_scratch(folder / "scratch") as scratch, _Workers(labeller, scratch, size) as workers:
        yield workers


class _Workers:
    """Labeller processes that share the frames submitted; use it in a `with` block."""

    def __init__(self, labeller: Labeller, scratch: Path, size: int) -> None:
        self._workers = [LabelWorker(labeller, scratch / str(n)) for n in range(size)]
        self._idle: queue.LifoQueue[LabelWorker] = queue.LifoQueue()  # one that runs comes first
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(size)

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(wait=True)

    def submit(self, frame: Atoms, kept: Path | None = None, key: str = "") -> Future[Label]:
        """Queue a frame; `kept` receives input and output if it fails."""
        return self._threads.submit(self._evaluate, frame, kept)

    def _evaluate(self, frame: Atoms, kept: Path | None) -> Label:
        worker = self._idle.get()
        try:
            label = worker.evaluate(frame)
            if kept is not None:
                shutil.rmtree(kept, ignore_errors=True)  # left by an attempt that failed
            return label
        except LabelFailure as failure:
            if kept is not None:
                keep_failed(worker.folder, kept, frame=frame, reason=str(failure))
            raise
        finally:
            self._idle.put(worker)


class _GradientCheck:
    """The gradient check of a method, made once in a store, after its first good label."""

    def __init__(
        self, store: LabelStore, method: str, submit: Callable[[Atoms], Future[Label]]
    ) -> None:
        self._store, self._method, self._submit = store, method, submit
        self._left = 0 if store.check(method) == "" else _CHECKED_FRAMES
        self._center: Label | None = None
        self.tasks: list[Future[Label]] = []

    def begin(self, frame: Atoms, label: Label) -> None:
        """Submit the two moved configurations of a labelled one, if the check is still to make."""
        if self._left and not self.tasks and len(frame) > 1:
            self._left -= 1
            self._center = label
            self.tasks = [self._submit(moved) for moved in displaced(frame)]

    def end(self) -> None:
        """Judge the check if its labels have ended; if one failed, another frame will do."""
        if not self.tasks or not all(task.done() for task in self.tasks):
            return
        tasks, self.tasks = self.tasks, []
        if any(task.exception() is not None for task in tasks):
            return
        assert self._center is not None
        before, center, after = (
            Step(label.energy, label.forces)
            for label in (tasks[0].result(), self._center, tasks[1].result())
        )
        changes = energy_changes(before, center, after)
        said = contradiction(*changes, len(center.forces))
        self._store.put_check(self._method, said, *(change.tolist() for change in changes))
        self._left = 0
        if said:
            raise refused(said)


def refused(said: str) -> LabelError:
    """Return the error for a method whose forces contradict its energy."""
    return LabelError(
        f"the labeller's forces are not minus the gradient of its energy: {said}. Correct the"
        " calculator, whose labels are then those of a new method; `--retry` checks it as it is"
    )


def _raise_if_broken(task: Future[Label]) -> None:
    error = task.exception()
    if error is not None and not isinstance(error, LabelFailure):
        raise error


def _record(
    store: LabelStore, key: str, frame: Atoms, task: Future[Label], asked: Asked
) -> LabelFailure | None:
    """Store a label, good or failed; return the failure."""
    failure = task.exception()
    if isinstance(failure, LabelFailure):
        store.put_failed(
            key,
            frame,
            kind=failure.kind,
            reason=failure.text,
            origin=asked.origin,
            method=asked.method,
        )
        return failure
    _store(store, key, frame, task.result(), asked)
    return None


def _store(store: LabelStore, key: str, frame: Atoms, label: Label, asked: Asked) -> None:
    store.put_ok(
        key,
        frame,
        energy=label.energy,
        forces=label.forces,
        stress=label.stress,
        seconds=label.seconds,
        origin=asked.origin,
        method=asked.method,
    )
