"""Labelling a batch of frames: each label is computed once and kept in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ..config import Labeller
from ..electronic_state import check_whole, state_of, with_state
from ..errors import AlrareError, LabelError
from ..execution.executor import Workers
from ..files import PathLike
from ..frames import frame_key, place_of, require_frames
from ..progress import Progress, SilentProgress
from .compute import Asked, check_gradient, compute, refused
from .failures import FINAL, advice, describe_failures
from .gradient import displaced
from .method import method_of
from .store import STORE_FILE, LabelStore, Row


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


def label(
    frames: Sequence[Atoms],
    *,
    labeller: Labeller,
    folder: PathLike,
    store_path: PathLike | None = None,
    workers: Workers = 0,
    progress: Progress | None = None,
    origin: str = "",
    retry: bool = False,
    charge: int | None = None,
    multiplicity: int | None = None,
) -> Labelled:
    """Label a batch of frames in parallel.

    Every label is committed to the store as soon as it is finished; a good label is never computed
    again. After a crash or a timeout the label is tried again (`failures.ATTEMPTS`), and a later
    batch tries again what may have been cured: all failures but those that are the configuration's
    own (`failures.FINAL`).

    The first label of a method in a store is followed by two more of the same configuration moved a
    little, which must show that its forces are minus the gradient of its energy.

    Parameters
    ----------
    frames : sequence of Atoms
        A repeated frame is labelled once.
    labeller : Labeller
        The `[labeller]` table.
    folder : Path or str
        Working folder; inputs and outputs of failed labels are kept in its `failed/KEY/`.
    store_path : Path or str, optional
        The label store; by default `labels.sqlite` in the folder.
    workers : int or Executor
        Labels computed at a time, 0 meaning one per core; or where they are computed.
    progress : Progress, optional
        By default nothing is shown.
    origin : str
        Purpose of the labels, such as the name of a stage; stored with them.
    retry : bool
        Try all failures again, also those that are the configuration's own.
    charge, multiplicity : int, optional
        What frames of more than one atom have that state none (`electronic_state`).

    Raises
    ------
    LabelError
        If all labels failed, the labeller is not installed, or its forces are not minus the
        gradient of its energy.
    AlrareError
        If the store cannot be written, or a frame contradicts itself in its charge or spin.
    """
    require_frames(frames, "label")
    folder = Path(folder)
    store_path = None if store_path is None else Path(store_path)
    given = {"charge": charge, "multiplicity": multiplicity}
    elements = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    method = method_of(labeller, elements)
    stated = [_stated(frame, number, given) for number, frame in enumerate(frames, start=1)]
    unique, failed = _unique(stated, method.hash)
    with LabelStore(store_path or folder / STORE_FILE) as store:
        contradiction = _contradiction(store, method.hash, retry=retry)
        store.put_method(method.hash, method.description)
        known = {key: store.get(key) for key in unique}
        # A labeller may have to restart for other elements, so frames are sorted by their elements.
        to_do = {
            key: unique[key]
            for key in sorted(unique, key=lambda key: unique[key].numbers.tolist())
            if _is_open(known[key], retry=retry)
        }
        if contradiction and not to_do:  # it is checked again by a label
            to_do = dict(list(unique.items())[:1])
        if to_do:
            compute(
                to_do,
                labeller=labeller,
                store=store,
                folder=folder,
                workers=workers,
                progress=progress or SilentProgress(),
                asked=Asked(origin, method.hash),
            )
        rows = {key: store.get(key) for key in unique}
    good = [key for key, row in rows.items() if row is not None and row.status == "ok"]
    reused = sum(1 for key in good if key not in to_do)
    failed += [
        Failed(key, row.status, row.reason)
        for key, row in rows.items()
        if row is not None and row.status != "ok"
    ]
    if failed and not good:
        kinds = describe_failures([one.kind for one in failed])
        raise LabelError(
            f"all {len(failed)} labels failed: {kinds}; the first: {failed[0].reason}"
            f" ({advice(failed[0].kind, labeller.program)}); inputs and outputs are kept in"
            f" {folder / 'failed'}"
        )
    return Labelled(tuple(good), reused, len(good) - reused, tuple(failed))


def check_labeller(
    structure: Atoms,
    *,
    labeller: Labeller,
    folder: Path,
    store_path: Path,
    workers: Workers,
    retry: bool = False,
) -> None:
    """Check once in a store that a labeller's forces are minus the gradient of its energy.

    Three labels near the structure show it; they are not kept. If they fail, that is no error here,
    since what follows says so.

    Parameters
    ----------
    structure : Atoms
    labeller, folder, store_path, executor, retry
        As of `label`.

    Raises
    ------
    LabelError
        If they are not, or the labeller is not installed.
    """
    method = method_of(labeller, sorted(set(structure.get_chemical_symbols())))
    _, frame = displaced(_stated(structure, 1, {}))  # the structure itself will be labelled again
    with LabelStore(store_path) as store:
        if _contradiction(store, method.hash, retry=retry) == "":
            return
        store.put_method(method.hash, method.description)
        check_gradient(
            frame, labeller=labeller, store=store, folder=folder, workers=workers,
            method=method.hash,
        )  # fmt: skip


def require_labels(done: Labelled, *, max_failed: float, folder: Path) -> None:
    """Raise an error if too many labels of a batch failed.

    Parameters
    ----------
    done : Labelled
        The batch.
    max_failed : float
        Largest share of failed labels.
    folder : Path or str
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


def _stated(frame: Atoms, number: int, given: Mapping[str, int | None]) -> Atoms:
    """Return a copy of a frame that states its charge and multiplicity in the one way of alrare."""
    try:
        check_whole(frame)
        return with_state(frame, state_of(frame, **(given if len(frame) > 1 else {})))
    except AlrareError as error:
        raise AlrareError(f"{place_of(frame, number)}: {error}") from error


def _unique(frames: Sequence[Atoms], method: str) -> tuple[dict[str, Atoms], list[Failed]]:
    unique: dict[str, Atoms] = {}
    failed = []
    for frame in frames:
        try:
            unique.setdefault(frame_key(frame, method), frame)
        except LabelError as error:
            failed.append(Failed("", "unphysical", str(error)))
    return unique, failed


def _contradiction(store: LabelStore, method: str, *, retry: bool) -> str | None:
    """Return what the gradient check of a method said; refuse a contradiction unless `retry`."""
    said = store.check(method)
    if said and not retry:
        raise refused(said)
    return said


def _is_open(row: Row | None, *, retry: bool) -> bool:
    return row is None or (row.status != "ok" and (retry or row.status not in FINAL))
