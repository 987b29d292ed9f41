"""The label budget: which candidates of an iteration are labelled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..errors import AlrareError
from ..frames import read_frames


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """Divide a label budget in proportion to weights.

    Parameters
    ----------
    total : int
        Number of labels.
    weights : sequence of float
        Not negative; a weight of 0 gets nothing. If all are 0, nobody gets anything.

    Returns
    -------
    list of int
        Their sum is the total: what is left after rounding down goes to the largest remainders.

    Examples
    --------
    >>> shares(10, [1.0, 1.0, 0.0, 1.0])
    [4, 3, 0, 3]
    """
    parts = np.array(weights, dtype=np.float64)
    if not parts.sum() > 0.0:
        return [0] * len(parts)
    exact = total * parts / parts.sum()
    whole = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return [int(number) for number in whole]


def choose(
    files: Sequence[Path],
    *,
    maximum: int,
    strategy: Literal["paper", "spread"],
    last_steps: Sequence[int | None] | None = None,
) -> list[Atoms]:
    """Take an iteration's label budget from the candidates of all its pulls.

    The fix has already screened each pull by threshold and similarity (Jung et al. 2024, §2.3.2
    and §2.3.3); this function limits their number. Candidates of different pulls are not compared
    for similarity, since configurations of equal distance and energy may still differ.

    Parameters
    ----------
    files : sequence of Path
        One candidates.extxyz per pull, in the order of the seeds; a missing or empty file means
        that the pull has no candidates. Half a frame at the end, left by a kill, is not read.
    maximum : int
        Largest number of configurations to take (50 in the paper).
    strategy : {"paper", "spread"}
        paper: the earliest MD steps of all pulls (equal steps in the order of `files`). For one
        pull this is the paper's rule; with several, no pull uses up the budget of the others.
        spread: one configuration from each of `maximum` equal intervals of the collective variable
        (the distance of the pulled atoms; without one, of the step), then those that differ most
        from all taken so far in their interatomic distances.
    last_steps : sequence of int or None, optional
        For each pull, later MD steps than this are not taken; None: no limit.

    Returns
    -------
    list of Atoms
        In order of step. `info` holds the keys of the fix (step, cv, ...) and `pull`, the index
        of the file.

    Raises
    ------
    AlrareError
        If a file is damaged or was not written by fix al_select.
    """
    frames = []
    ends = [None] * len(files) if last_steps is None else last_steps
    for pull, (path, last) in enumerate(zip(files, ends, strict=True)):
        if not path.is_file() or path.stat().st_size == 0:
            continue
        for frame in read_frames(path, leave_out_cut=True):
            if "step" not in frame.info:
                raise AlrareError(f"{path}: expected frames with 'step', as fix al_select writes")
            if last is not None and frame.info["step"] > last:
                continue
            frame.info["pull"] = pull
            frames.append(frame)
    frames.sort(key=lambda frame: (frame.info["step"], frame.info["pull"]))
    if strategy == "paper" or len(frames) <= maximum:
        return frames[:maximum]
    return [frames[index] for index in sorted(_spread(frames, maximum))]


def most_unlike(frames: Sequence[Atoms], number: int) -> list[int]:
    """Choose frames that differ most in their interatomic distances, by farthest-point sampling.

    Parameters
    ----------
    frames : sequence of Atoms
        Of the same atoms in the same order; at least `number`.
    number : int
        How many to choose.

    Returns
    -------
    list of int
        Their places, the first frame first, then always the one that is farthest from all others.
    """
    shapes = np.array([_distances(frame) for frame in frames], dtype=np.float32)
    nearest = np.full(len(frames), np.inf)
    chosen: list[int] = []
    for _ in range(number):
        _take_most_unlike(np.arange(len(frames)), shapes, nearest, chosen)
    return chosen


def _spread(frames: list[Atoms], maximum: int) -> list[int]:
    """Take one frame per interval of the cv, then the most different ones; return indices."""
    along = "cv" if all("cv" in frame.info for frame in frames) else "step"
    cv = np.array([frame.info[along] for frame in frames], dtype=np.float64)
    shapes = np.array([_distances(frame) for frame in frames], dtype=np.float32)
    width = (cv.max() - cv.min()) / maximum or 1.0
    interval = np.minimum(((cv - cv.min()) / width).astype(int), maximum - 1)
    nearest = np.full(len(frames), np.inf)
    chosen: list[int] = []
    for number in np.unique(interval):
        _take_most_unlike(np.flatnonzero(interval == number), shapes, nearest, chosen)
    while len(chosen) < maximum:
        _take_most_unlike(np.arange(len(frames)), shapes, nearest, chosen)
    return chosen


def _distances(frame: Atoms) -> NDArray[np.float64]:
    first, second = np.triu_indices(len(frame), 1)
    distances: NDArray[np.float64] = np.linalg.norm(
        frame.positions[first] - frame.positions[second], axis=1
    )
    return distances


def _take_most_unlike(
    among: NDArray[np.intp],
    shapes: NDArray[np.float32],
    nearest: NDArray[np.float64],
    chosen: list[int],
) -> None:
    """Farthest-point sampling: take the frame that is farthest from all frames taken so far."""
    index = int(among[np.argmax(nearest[among])])
    chosen.append(index)
    distance = np.sqrt(np.mean((shapes - shapes[index]) ** 2, axis=1))
    np.minimum(nearest, distance, out=nearest)
    nearest[index] = -1.0
