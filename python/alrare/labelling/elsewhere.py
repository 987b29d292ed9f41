"""Labels by workers elsewhere: several to a task, each written down as soon as it is finished.

A worker keeps its labeller's process between tasks. It appends every good label to a file of its
task, `finished/TASK.jsonl`, so that neither the loss of a worker nor the end of the driver throws a
label away: a repeated task goes on after them, and the next driver takes them over.
"""

import atexit
import json
import math
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ..config import Labeller
from ..errors import ProcessLostError
from ..execution.executor import Executor
from .failures import LabelFailure
from .scratch import own_scratch
from .store import LabelStore
from .worker import Label, LabelWorker, keep_failed

FINISHED = "finished"
"""Name of the folder of finished labels that are not in the store yet."""
_TASK_SECONDS = 5.0
"""A task gets as many labels as take about this long."""


@dataclass(frozen=True)
class Item:
    """One configuration of a task."""

    frame: Atoms
    key: str
    """Key of its label; empty: it is not kept."""
    kept: Path | None
    """Receives input and output if it fails."""


@dataclass(frozen=True)
class Batch:
    """The configurations of one task."""

    labeller: Labeller
    folder: Path
    """That of the labels."""
    name: str
    """Of the task; that of its file."""
    items: tuple[Item, ...]


class LabelsElsewhere:
    """Workers elsewhere that share the frames submitted; use it in a `with` block.

    Parameters
    ----------
    labeller : Labeller
        The `[labeller]` table.
    executor : Executor
    folder : Path
        That of the labels.
    """

    def __init__(self, labeller: Labeller, executor: Executor, folder: Path) -> None:
        self._labeller, self._executor, self._folder = labeller, executor, folder
        self._size = executor.size("label")
        self._lock = threading.RLock()
        self._queue: deque[tuple[Item, Future[Label]]] = deque()
        self._under_way = 0
        self._seconds: list[float] = []

    def __enter__(self) -> "LabelsElsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # what is under way is ended with the executor, or ends for nothing
            self._queue.clear()

    def submit(self, frame: Atoms, kept: Path | None = None, key: str = "") -> Future[Label]:
        """Queue a frame; `kept` receives input and output if it fails."""
        future: Future[Label] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._queue.append((Item(frame, key, kept), future))
            self._send()
        return future

    def _send(self) -> None:
        """Send tasks, two for each worker at a time; the last ones are small."""
        while self._queue and self._under_way < 2 * self._size:
            seconds = float(np.mean(self._seconds[-100:])) if self._seconds else _TASK_SECONDS
            wanted = max(1, round(_TASK_SECONDS / max(seconds, 1e-6)))
            count = min(wanted, math.ceil(len(self._queue) / (2 * self._size)))
            self._send_batch([self._queue.popleft() for _ in range(count)])

    def _send_batch(self, entries: Sequence[tuple[Item, Future[Label]]]) -> None:
        items = tuple(item for item, _ in entries)
        batch = Batch(self._labeller, self._folder, uuid.uuid4().hex, items)
        self._under_way += 1
        task = self._executor.submit("label", label_batch, batch)
        task.add_done_callback(lambda ended: self._ended(batch, entries, ended))

    def _ended(
        self, batch: Batch, entries: Sequence[tuple[Item, Future[Label]]], task: Future[Any]
    ) -> None:
        error = task.exception()
        with self._lock:
            self._under_way -= 1
            if isinstance(error, ProcessLostError) and len(entries) > 1:
                for entry in entries:  # one of them may be what ends the workers
                    self._send_batch([entry])
                return
            if error is None:
                self._seconds += [one.seconds for one in task.result() if isinstance(one, Label)]
            self._send()
        if isinstance(error, ProcessLostError):
            error = LabelFailure("crashed", str(error))
        for number, (_, future) in enumerate(entries):
            answer = error if error is not None else task.result()[number]
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def take_over(folder: Path, frames: Mapping[str, Atoms]) -> dict[str, Label]:
    """Return the finished labels of tasks whose driver ended, of those that are asked for now.

    Parameters
    ----------
    folder : Path
        That of the labels.
    frames : mapping from str to Atoms
        What is asked for, by the key of the label.
    """
    found: dict[str, Label] = {}
    for path in sorted((folder / FINISHED).glob("*.jsonl")):
        found |= {key: label for key, label in _read(path).items() if key in frames}
    return found


def forget(folder: Path, store: LabelStore) -> None:
    """Remove the files of tasks whose labels are all in the store."""
    for path in (folder / FINISHED).glob("*.jsonl"):
        if all(store.get(key) is not None for key in _read(path)):
            path.unlink(missing_ok=True)


_own: dict[str, LabelWorker] = {}
"""The labeller's process of this worker, by the labeller's table as JSON; at most one."""
_at_end = ExitStack()
atexit.register(_at_end.close)


def label_batch(batch: Batch) -> list[Label | LabelFailure]:
    """Label the configurations of a task, but those that an earlier attempt has finished."""
    worker = _own_worker(batch)
    path = batch.folder / FINISHED / f"{batch.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    finished = _read(path)
    answers: list[Label | LabelFailure] = []
    with path.open("a", encoding="utf-8") as stream:
        stream.write("\n")  # after a line that a killed worker left incomplete
        for item in batch.items:
            if item.key and item.key in finished:
                answers.append(finished[item.key])
                continue
            try:
                label = worker.evaluate(item.frame)
            except LabelFailure as failure:
                if item.kept is not None:
                    keep_failed(worker.folder, item.kept, frame=item.frame, reason=str(failure))
                answers.append(failure)
                continue
            if item.key:
                stream.write(json.dumps([item.key, _to_json(label)]) + "\n")
                stream.flush()
            answers.append(label)
    return answers


def _own_worker(batch: Batch) -> LabelWorker:
    """Return this process's labeller, started when first needed."""
    wanted = batch.labeller.model_dump_json()
    for other in [one for one in _own if one != wanted]:
        _own.pop(other).end()
    if wanted not in _own:
        scratch = _at_end.enter_context(own_scratch(batch.folder / "scratch"))
        worker = LabelWorker(batch.labeller, scratch / "0")
        _at_end.callback(worker.end)
        _own[wanted] = worker
    return _own[wanted]


def _to_json(label: Label) -> dict[str, Any]:
    return {
        "energy": label.energy,
        "forces": label.forces.tolist(),
        "stress": None if label.stress is None else label.stress.tolist(),
        "seconds": label.seconds,
    }


def _read(path: Path) -> dict[str, Label]:
    """Read the finished labels of a task; what a killed worker wrote last may be incomplete."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        try:
            key, entry = json.loads(line)
            stress = entry["stress"]
            found[key] = Label(
                energy=float(entry["energy"]),
                forces=np.array(entry["forces"], dtype=np.float64),
                seconds=float(entry["seconds"]),
                stress=None if stress is None else np.array(stress, dtype=np.float64),
            )
        except (ValueError, KeyError, TypeError):
            continue
    return found
