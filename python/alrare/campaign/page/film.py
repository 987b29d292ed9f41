"""The event as a film: the model's own run beside the labeller's, at the same MD steps."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ...errors import AlrareError
from ...exploration.event import CHANGED, Bonds
from ...exploration.labeller_md import TRAJECTORY_FILE
from ...exploration.lammps_input import DUMP_FILE
from ...exploration.observables import read_trajectory
from ...exploration.table import read_table
from ...frames import read_frames
from .curves import run_folders

NUMBERS = 200_000
"""Largest number of coordinates in all films of a page."""
PAIRS = 50_000
"""Largest number of broken and formed bonds, frame by frame, in a film."""
EVEN, AROUND = 60, 60
"""Frames over the whole run, and as many more around each event."""
WINDOW = 200
"""MD steps before and after an event that are shown frame by frame."""
FEWEST = 20
"""A film of fewer frames is not made."""


def films(
    run: Path, systems: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return films of the last iteration that has trajectories, as many as a page can carry.

    Parameters
    ----------
    run : Path
        The run folder.
    systems : sequence of (str, str, mapping)
        Name, subfolder and `of_system` of each system.

    Returns
    -------
    list of dict
        ``system``, ``seed``, ``iteration``, ``axis`` (name of the cv), ``periodic``, ``elements``,
        ``steps`` (f,), and the two ``sides``; see `_side`.
    list of str
        What could not be shown, and why.
    """
    made: list[dict[str, Any]] = []
    missing: list[str] = []
    left, further = NUMBERS, 0
    runs = list(_in_turn(run, systems))
    for done, (number, seed, name, folders, results) in enumerate(runs, 1):
        share = min(left, NUMBERS // len(systems)) if len(made) < len(systems) else left
        try:
            film = _film(folders, results, seed=seed, iteration=number, numbers=share)
        except AlrareError as error:
            missing.append(str(error).replace(f"{run}/", ""))
            continue
        if isinstance(film, str):
            if made:
                further += 1
            else:
                missing.append(film)
            continue
        left -= sum(len(side["positions"]) for side in film["sides"]) + 2 * _n_changed(
            film["sides"]
        )
        made.append({"system": name, **film})
        if left < NUMBERS // 20:
            further += len(runs) - done
            break
    if further:
        missing.append(f"further runs would make the page too large: {further}")
    return made, missing


def _in_turn(
    run: Path, systems: Sequence[tuple[str, str, Mapping[str, Any]]]
) -> Iterator[tuple[int | None, int, str, tuple[Path | None, Path | None], Mapping[str, Any]]]:
    """Yield the runs to show, the first seed of each system before the second of any."""
    queues = []
    for name, subfolder, results in systems:
        by_iteration: dict[int | None, dict[int, Path]] = {}
        for iteration, seed, folder in run_folders(run, subfolder, results["observable"]["runs"]):
            dump = TRAJECTORY_FILE if iteration is None else DUMP_FILE
            if (folder / dump).is_file():
                by_iteration.setdefault(iteration, {})[seed] = folder
        labeller = by_iteration.pop(None, {})
        last = max((number for number in by_iteration if number is not None), default=None)
        model = by_iteration.get(last, {})
        queue = [
            (last, seed, name, (model.get(seed), labeller.get(seed)), results)
            for seed in sorted(model or labeller)
        ]
        queues.append(queue)
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))


def _film(
    folders: tuple[Path | None, Path | None],
    results: Mapping[str, Any],
    *,
    seed: int,
    iteration: int | None,
    numbers: int,
) -> dict[str, Any] | str:
    """Return a film of two runs, or a sentence why there is none."""
    by_model, by_labeller = folders
    runs = [
        _finite(read_trajectory(by_model / DUMP_FILE)) if by_model else [],
        _finite(read_frames(by_labeller / TRAJECTORY_FILE, leave_out_cut=True))
        if by_labeller
        else [],
    ]
    shown = [frames for frames in runs if frames]
    if not shown:
        return f"seed {seed}: the trajectory holds no configuration"
    n_atoms = len(shown[0][0])
    most = numbers // (3 * n_atoms * len(shown))
    if most < FEWEST:
        return (
            f"seed {seed}: {n_atoms} atoms are too many for a film on this page; the trajectories"
            f" ({DUMP_FILE}, {TRAJECTORY_FILE}) open in OVITO or VMD"
        )
    events = _events(results, iteration, seed)
    steps = _steps([_steps_of(frames) for frames in shown], [one for one in events if one], most)
    turned = _orientation(shown)
    titles = (f"Model of iteration {iteration}", "Labeller")
    observable = results["observable"]
    sides = [
        _side(frames, steps, turned, title=title, event=event)
        | {"cv": _cv(folder, observable, steps)}
        for frames, title, event, folder in zip(runs, titles, events, folders, strict=True)
        if frames
    ]
    if _n_changed(sides) > PAIRS:
        return f"seed {seed}: too many bonds broke or formed for a film on this page"
    return {
        "seed": seed,
        "iteration": iteration,
        "axis": observable["x"][1],
        "periodic": bool(shown[0][0].pbc.any()),
        "elements": shown[0][0].get_chemical_symbols(),
        "steps": steps.tolist(),
        "sides": sides,
    }


def _side(
    frames: Sequence[Atoms],
    steps: NDArray[np.intp],
    turned: NDArray[np.float64],
    *,
    title: str,
    event: int | None,
) -> dict[str, Any]:
    """Return one run of a film.

    Returns
    -------
    dict
        ``title``, ``event`` (MD step, or None), ``last`` (MD step of the run's last frame),
        ``positions`` (f * n * 3, thousandths of an Å), ``bonds`` (pairs of the first frame),
        ``broken`` and ``formed`` (for each frame, the pairs).
    """
    known = _steps_of(frames)
    rows = np.abs(known[None, :] - steps[:, None]).argmin(axis=1)
    bonds = Bonds(frames[0])
    inside = (bonds.images == 0).all(axis=1)  # a bond to the next cell is not drawn
    chosen = [frames[row] for row in rows]
    center = frames[0].positions.mean(axis=0)
    positions = np.array([(frame.positions - center) @ turned for frame in chosen])
    broken, formed = [], []
    for frame in chosen:
        broken.append(bonds.pairs[inside & (bonds.stretch(frame) > CHANGED)].tolist())
        pairs, ratio = bonds.formed(frame)
        formed.append(pairs[ratio > CHANGED].tolist())
    return {
        "title": title,
        "event": event,
        "last": int(known[-1]),
        "positions": np.rint(1000 * positions).astype(int).ravel().tolist(),
        "bonds": bonds.pairs[inside].tolist(),
        "broken": broken,
        "formed": formed,
    }


def _finite(frames: Sequence[Atoms]) -> list[Atoms]:
    """Leave out the configurations of a run that blew up."""
    return [frame for frame in frames if np.isfinite(frame.positions).all()]


def _n_changed(sides: Sequence[Mapping[str, Any]]) -> int:
    """Count the broken and formed bonds of all frames."""
    return sum(len(pairs) for side in sides for pairs in [*side["broken"], *side["formed"]])


def _steps(known: Sequence[NDArray[np.intp]], events: Sequence[int], most: int) -> NDArray[np.intp]:
    """Choose MD steps: evenly over the longest run, and densely around the events."""
    all_steps = np.unique(np.concatenate(known))
    even = _evenly(all_steps, min(EVEN, most))
    near = (np.abs(all_steps[None, :] - np.array(events)[:, None]) <= WINDOW).any(axis=0)
    return np.union1d(even, _evenly(all_steps[near], min(AROUND * len(events), most - len(even))))


def _evenly(steps: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    if not len(steps) or count < 1:
        return steps[:0]
    rows = np.linspace(0, len(steps) - 1, min(count, len(steps))).astype(np.intp)
    return steps[rows]


def _steps_of(frames: Sequence[Atoms]) -> NDArray[np.intp]:
    return np.array([int(frame.info.get("step", row)) for row, frame in enumerate(frames)])


def _events(
    results: Mapping[str, Any], iteration: int | None, seed: int
) -> tuple[int | None, int | None]:
    """Return the MD steps of the event in the model's and in the labeller's run."""
    rows = [row for row in results["iterations"] if row["iteration"] == iteration]
    for pull in rows[0].get("runs") or [] if rows else []:
        if pull["seed"] == seed:
            model, labeller = pull["model"] or {}, pull.get("reference") or {}
            return model.get("event_step"), labeller.get("event_step")
    return None, None


def _orientation(runs: Sequence[Sequence[Atoms]]) -> NDArray[np.float64]:
    """Return the rotation that lays a molecule flat on the screen, its longest axis from left."""
    if runs[0][0].pbc.any():
        return np.eye(3)
    points = np.concatenate(
        [
            frame.positions - frames[0].positions.mean(axis=0)
            for frames in runs
            for frame in (frames[0], frames[-1])
        ]
    )
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    axes[2] *= np.sign(np.linalg.det(axes))  # a rotation, no reflection
    return np.asarray(axes.T)


def _cv(
    folder: Path | None, observable: Mapping[str, Any], steps: NDArray[np.intp]
) -> list[float] | None:
    """Return the cv of a run at each step; None if its table does not tell."""
    if folder is None:
        return None
    try:
        table = read_table(folder / observable["table"])
        values = np.interp(steps, table["step"], table[observable["x"][0]])
    except (AlrareError, KeyError):
        return None
    return [round(value, 3) for value in values.tolist()]
