"""Which candidates of an iteration's pulls are labelled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ..errors import AlrareError
from ..frames import read_frames


def choose(
    files: Sequence[Path],
    *,
    maximum: int,
    strategy: Literal["paper", "spread"],
    last_steps: Sequence[int | None] | None = None,
) -> list[Atoms]:
    """Take an iteration's label budget from the candidates of all its pulls.

    The fix has already screened each pull by threshold and similarity (Jung et al. 2024, §2.3.2
    and §2.3.3); this is the cap. The candidates of two pulls are never compared for similarity:
    equal spring distance and energy do not make two trajectories equal.

    Parameters
    ----------
    files : sequence of Path
        One candidates.extxyz a pull, in the order of the seeds; missing and empty files count as
        a pull without candidates.
    maximum : int
        Configurations to take at most (the paper's 50).
    strategy : {"paper", "spread"}
        paper: first come, first taken. The pulls run side by side, so "first" is the lowest MD
        step, whichever the pull (equal steps in the order of `files`); with one pull this is the
        paper's rule, with several no pull uses up the budget of the others.
        spread: one configuration from each of `maximum` equal intervals of the spring distance,
        then those most unlike the ones taken, by their interatomic distances.
    last_steps : sequence of int or None, optional
        For each pull the last MD step whose configuration is taken; None sets no end.

    Returns
    -------
    list of Atoms
        In order of step; `info` as the fix wrote it (step, cv, ...) plus `pull`, the index of
        the file.

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
        for frame in read_frames(path):
            if "step" not in frame.info or "cv" not in frame.info:
                raise AlrareError(
                    f"{path}: expected frames with 'step' and 'cv', as fix al_select writes them"
                )
            if last is not None and frame.info["step"] > last:
                continue
            frame.info["pull"] = pull
            frames.append(frame)
    frames.sort(key=lambda frame: (frame.info["step"], frame.info["pull"]))
    if strategy == "paper" or len(frames) <= maximum:
        return frames[:maximum]
    return [frames[index] for index in sorted(_spread(frames, maximum))]


def _spread(frames: list[Atoms], maximum: int) -> list[int]:
    """Choose one frame for each interval of the cv, then the most unlike; return indices."""
    cv = np.array([frame.info["cv"] for frame in frames])
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
    """Farthest-point step: take the frame whose nearest taken frame is farthest away."""
    index = int(among[np.argmax(nearest[among])])
    chosen.append(index)
    distance = np.sqrt(np.mean((shapes - shapes[index]) ** 2, axis=1))
    np.minimum(nearest, distance, out=nearest)
    nearest[index] = -1.0
