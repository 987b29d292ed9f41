"""Labelling a batch of frames: each label is computed once and kept in the store."""

import queue
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ..config import Labeller
from ..errors import LabelError
from ..files import write_text
from ..frames import frame_key, write_frames
from ..processes import worker_count
from ..progress import Progress, SilentProgress
from .failures import ATTEMPTS, LabelFailure, describe_failures
from .method import method_of
from .store import STORE_FILE, LabelStore, Row
from .worker import Label, LabelWorker, keep_failed


@dataclass(frozen=True)
class Failed:
    """A frame of a batch that has no label."""

    key: str
    """Key of the label; empty if a position is not finite."""
    kind: str
    """A `failures.Kind`."""
    reason: str
    """One sentence."""


@dataclass(frozen=True)
class Labelled:
    """Result of a batch."""

    keys: tuple[str, ...]
    """Keys of the good labels, in the order of the frames, each once."""
    reused: int
    """Number of good labels that were in the store already."""
    computed: int
    """Number of good labels computed by this call."""
    failed: tuple[Failed, ...]
    """Frames without a label."""


@dataclass(frozen=True)
class _Asked:
    """Origin and method, stored with every label of a batch."""

    origin: str
    method: str


def label(
    frames: Sequence[Atoms],
    *,
    labeller: Labeller,
    folder: Path,
    store_path: Path | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    origin: str = "",
) -> Labelled:
    """Label a batch of frames in parallel.

    Every label is committed to the store as soon as it is finished; a good label is never computed
    again. After a crash or a timeout the label is tried again (`failures.ATTEMPTS`); a rejected one
    is tried again when the batch is labelled again; other failures are final.

    Parameters
    ----------
    frames : sequence of Atoms
        A repeated frame is labelled once.
    labeller : Labeller
        The `[labeller]` table.
    folder : Path
        Working folder; inputs and outputs of failed labels are kept in its `failed/KEY/`.
    store_path : Path, optional
        The label store; by default `labels.sqlite` in the folder.
    workers : int
        Labels computed at a time; 0 means one per core.
    progress : Progress, optional
        By default nothing is shown.
    origin : str
        Purpose of the labels, such as the name of a stage; stored with them.

    Raises
    ------
    LabelError
        If all labels failed, or the labeller is not installed.
    AlrareError
        If the store cannot be written.
    """
    elements = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    method = method_of(labeller, elements)
    unique, failed = _unique(frames, method.hash)
    progress = progress or SilentProgress()
    with LabelStore(store_path or folder / STORE_FILE) as store:
        store.put_method(method.hash, method.description)
        known = {key: store.get(key) for key in unique}
        # A labeller may have to restart for other elements, so frames are sorted by their elements.
        to_do = {
            key: unique[key]
            for key in sorted(unique, key=lambda key: unique[key].numbers.tolist())
            if _is_open(known[key])
        }
        if to_do:
            asked = _Asked(origin, method.hash)
            _compute(to_do, labeller, store, folder, worker_count(workers), progress, asked)
        rows = {key: store.get(key) for key in unique}
    good = [key for key, row in rows.items() if row is not None and row.status == "ok"]
    reused = sum(1 for key in good if key not in to_do)
    failed += [
        Failed(key, row.status, row.reason)
        for key, row in rows.items()
        if row is not None and row.status != "ok"
    ]
    if failed and not good:
        raise LabelError(
            f"all {len(failed)} labels failed: {describe_failures([f.kind for f in failed])}; the"
            f" first: {failed[0].reason}; inputs and outputs are kept in {folder / 'failed'}"
        )
    return Labelled(tuple(good), reused, len(good) - reused, tuple(failed))


def require_labels(done: Labelled, *, max_failed: float, folder: Path) -> None:
    """Raise an error if too many labels of a batch failed.

    Parameters
    ----------
    done : Labelled
        The batch.
    max_failed : float
        Largest share of failed labels.
    folder : Path
        As given to `label`.

    Raises
    ------
    LabelError
        If a larger share failed; the message counts the kinds of failure.
    """
    total = len(done.keys) + len(done.failed)
    if len(done.failed) > max_failed * total:
        raise LabelError(
            f"{len(done.failed)} of {total} labels failed, more than max_failed = {max_failed:g}"
            f" allows ([labeller]): {describe_failures([f.kind for f in done.failed])}; the first:"
            f" {done.failed[0].reason}; inputs and outputs are kept in {folder / 'failed'}"
        )


def _unique(frames: Sequence[Atoms], method: str) -> tuple[dict[str, Atoms], list[Failed]]:
    unique: dict[str, Atoms] = {}
    failed = []
    for frame in frames:
        try:
            unique.setdefault(frame_key(frame, method), frame)
        except LabelError as error:
            failed.append(Failed("", "unphysical", str(error)))
    return unique, failed


def _is_open(row: Row | None) -> bool:
    return row is None or row.status == "rejected" or _may_pass(row)


def _may_pass(row: Row | None) -> bool:
    return row is not None and row.attempts < ATTEMPTS.get(row.status, 0)


def _compute(
    frames: dict[str, Atoms],
    labeller: Labeller,
    store: LabelStore,
    folder: Path,
    workers: int,
    progress: Progress,
    asked: _Asked,
) -> None:
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
    pool = [LabelWorker(labeller, scratch / str(n)) for n in range(min(workers, len(frames)))]
    idle: queue.SimpleQueue[LabelWorker] = queue.SimpleQueue()
    for worker in pool:
        idle.put(worker)
    threads = ThreadPoolExecutor(len(pool))
    done = failures = 0
    try:
        with progress.stage("label", total=len(frames)) as stage:

            def submit(key: str) -> Future[Label]:
                return threads.submit(_evaluate, idle, frames[key], _kept(folder, key))

            tasks = {submit(key): key for key in frames}
            while tasks:
                ended = wait(tasks, return_when=FIRST_COMPLETED).done
                broken = [task.exception() for task in ended if _is_broken(task)]
                # Labels that end during a commit, which waits for the disk, share the next commit.
                with store.transaction():
                    for task in (task for task in ended if not _is_broken(task)):
                        key = tasks.pop(task)
                        if not _record(store, key, frames[key], task.result, asked):
                            if _may_pass(store.get(key)):
                                tasks[submit(key)] = key
                                continue
                            failures += 1
                        done += 1
                for error in broken:
                    assert error is not None
                    raise error
                stage.update(done, note=f"{failures} failed" if failures else "")
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in pool:
            worker.end()
        threads.shutdown(wait=True)
        shutil.rmtree(scratch, ignore_errors=True)


def _kept(folder: Path, key: str) -> Path:
    return folder / "failed" / key[:16]


def _evaluate(idle: "queue.SimpleQueue[LabelWorker]", frame: Atoms, kept: Path) -> Label:
    worker = idle.get()
    try:
        label = worker.evaluate(frame)
        shutil.rmtree(kept, ignore_errors=True)  # left by an earlier attempt that failed
        return label
    except LabelFailure as failure:
        keep_failed(worker.folder, kept)
        write_frames(kept / "frame.extxyz", [frame])
        write_text(kept / "reason.txt", f"{failure}\n")
        raise
    finally:
        idle.put(worker)


def _is_broken(task: Future[Label]) -> bool:
    error = task.exception()
    return error is not None and not isinstance(error, LabelFailure)


def _record(
    store: LabelStore, key: str, frame: Atoms, result: Callable[[], Label], asked: _Asked
) -> bool:
    try:
        label = result()
    except LabelFailure as failure:
        store.put_failed(
            key,
            frame,
            kind=failure.kind,
            reason=failure.text,
            origin=asked.origin,
            method=asked.method,
        )
        return False
    store.put_ok(
        key,
        frame,
        energy=label.energy,
        forces=label.forces,
        seconds=label.seconds,
        origin=asked.origin,
        method=asked.method,
    )
    return True
