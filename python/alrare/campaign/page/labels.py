"""The labels of a campaign: where they came from along the cv, and how far the models were off."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ...errors import AlrareError
from ...exploration.lammps_input import DUMP_FILE
from ...exploration.observables import read_trajectory
from ...exploration.table import Table, read_table
from ...files import read_json
from ...frames import label_of, read_frames
from .curves import run_folders, short

BINS = 40
SAME = 2e-6
"""Å; positions closer than this are those of the same frame."""
POINTS = 4000
"""Largest number of labels of a system that are drawn in the calibration."""


@dataclass(frozen=True)
class Compared:
    """A label of a model's own run, and what the model said there."""

    iteration: int
    kind: str
    """"candidate" or "around the event"."""
    cv: float | None
    energy_std: float | None
    """eV."""
    error: float | None
    """Energy of the model minus the label, eV."""


def compared_labels(
    run: Path, subfolder: str, observable: Mapping[str, Any], labels: Mapping[str, Atoms]
) -> list[Compared]:
    """Return the labels of a system's candidates and around its events with the model's values.

    They are read from what LAMMPS wrote: no model is evaluated.

    Parameters
    ----------
    run : Path
        The run folder.
    subfolder : str
        Folder of the system in those of the iterations.
    observable : mapping
        `Quantity.to_json()`.
    labels : mapping from key to Atoms
        The labelled frames.
    """
    runs: dict[int, list[Path]] = {}
    for number, _, folder in run_folders(run, subfolder, observable["runs"]):
        if number is not None:
            runs.setdefault(number, []).append(folder)
    found = []
    for number, folders in runs.items():
        home = folders[0].parent
        found += _candidates(number, home, observable, labels)
        found += _around_event(number, home, folders, observable, labels)
    return found


def _candidates(
    iteration: int, home: Path, observable: Mapping[str, Any], labels: Mapping[str, Atoms]
) -> list[Compared]:
    keys = _keys(home / "labels.json", "chosen")
    frames = read_frames(home / "selected.extxyz") if keys else []
    frames = [frame for frame in frames if "copy_of" not in frame.info]
    places, found = _Places(frames), []
    for label in (labels[key] for key in keys if key in labels):
        row = places.row_of(label)
        if row is None:
            continue
        info = frames[row].info
        members = np.atleast_1d(info.get("member_energies", [])).astype(float)
        error = float(members.mean() - label_of(label)[0]) if len(members) else None
        cv = info.get("step" if observable["x"][0] == "step" else "cv")
        found.append(Compared(iteration, "candidate", cv, info.get("energy_std"), error))
    return found


def _around_event(
    iteration: int,
    home: Path,
    folders: Sequence[Path],
    observable: Mapping[str, Any],
    labels: Mapping[str, Atoms],
) -> list[Compared]:
    wanted = [labels[key] for key in _keys(home / "around_event.json", "keys") if key in labels]
    found = []
    for folder in folders if wanted else []:
        try:
            frames = read_trajectory(folder / DUMP_FILE)
            table = read_table(folder / observable["table"])
        except AlrareError:
            continue
        places = _Places(frames)
        for label in list(wanted):
            row = places.row_of(label)
            if row is not None:
                at = int(np.searchsorted(table["step"], frames[row].info["step"]))
                found.append(_at_row(iteration, label, table, at, observable))
                wanted.remove(label)
    return found


def _at_row(
    iteration: int, label: Atoms, table: Table, row: int, observable: Mapping[str, Any]
) -> Compared:
    def value(column: str) -> float | None:
        values = table.get(column)
        return None if values is None or row >= len(values) else float(values[row])

    energy = value("potential_energy")
    error = None if energy is None else energy - label_of(label)[0]
    cv = value(observable["x"][0])
    return Compared(iteration, "around the event", cv, value("energy_std"), error)


def _keys(path: Path, name: str) -> list[str]:
    try:
        content = read_json(path)
    except AlrareError:
        return []
    keys = content.get(name) if isinstance(content, dict) else None
    return keys if isinstance(keys, list) else []


class _Places:
    """The positions of many frames, to find one again."""

    def __init__(self, frames: Sequence[Atoms]) -> None:
        self._rows: dict[int, list[int]] = {}
        for row, frame in enumerate(frames):
            self._rows.setdefault(len(frame), []).append(row)
        self._positions = {
            size: np.array([frames[row].positions for row in rows])
            for size, rows in self._rows.items()
        }

    def row_of(self, label: Atoms) -> int | None:
        """Return which frame a label is of; None if it is of none."""
        positions = self._positions.get(len(label))
        if positions is None:
            return None
        apart = np.abs(positions - label.positions).max(axis=(1, 2))
        best = int(apart.argmin())
        return self._rows[len(label)][best] if apart[best] < SAME else None


def calibration(found: Sequence[Compared], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return spread and error of each label, and the factors that the campaign found.

    Parameters
    ----------
    found : sequence of Compared
    rows : sequence of mappings
        The iterations of `of_system`.

    Returns
    -------
    dict
        ``points``: ``iteration``, ``kind``, ``spread`` and ``error`` (relative energies, eV), lists
        of one length; ``rows``: by iteration the rms values, their ratio and its check.
    """
    known = [one for one in found if one.energy_std and one.error is not None]
    offsets = {
        number: float(np.mean([one.error for one in known if one.iteration == number]))
        for number in {one.iteration for one in known}
    }
    thin = known[:: 1 + len(known) // POINTS]
    errors = [abs(one.error - offsets[one.iteration]) for one in thin if one.error is not None]
    return {
        "points": {
            "iteration": [one.iteration for one in thin],
            "kind": [one.kind for one in thin],
            "spread": short(np.array([one.energy_std for one in thin], dtype=float)),
            "error": short(np.array(errors, dtype=float)),
        },
        "rows": [
            {"iteration": row["iteration"], **{key: new.get(key) for key in _CALIBRATION}}
            for row in rows
            if (new := row.get("calibration")) and new.get("energy_ratio")
        ],
    }


_CALIBRATION = ("n_frames", "energy_std", "energy_error", "energy_ratio", "energy_check")


def along_cv(
    run: Path,
    subfolder: str,
    *,
    labels: Mapping[str, Atoms],
    structure: Atoms | None,
    name: str,
    pulled: Sequence[int] | None,
    found: Sequence[Compared],
) -> dict[str, Any]:
    """Count a system's labels along the cv by where they came from.

    Parameters
    ----------
    run : Path
        The run folder.
    subfolder : str
        Folder of the system in those of the iterations.
    labels : mapping from key to Atoms
        All labels of the campaign.
    structure : Atoms or None
        The system's structure: its labels are those with the same atoms.
    name : str
        The system's name, which an origin ends with in a campaign of several.
    pulled : (int, int) or None
        Atoms, from 1, whose distance is the cv; None: the cv of `found` counts.
    found : sequence of Compared
        `compared_labels`.

    Returns
    -------
    dict
        ``edges`` (b + 1,), ``counts``: (b,) by kind, and ``unknown``: number of labels without a
        cv.
    """
    values: dict[str, list[float]] = {}
    unknown = 0
    if pulled is None:
        for one in found:
            if one.cv is not None and np.isfinite(one.cv):
                values.setdefault(one.kind, []).append(float(one.cv))
        unknown = len(_of_system(labels, structure, subfolder, name)) - sum(
            map(len, values.values())
        )
    else:
        copies = {
            key
            for path in run.glob("iter_[0-9]*")
            for key in _keys(path / subfolder / "labels.json", "copies")
        }
        first, second = (atom - 1 for atom in pulled)
        for key, frame in _of_system(labels, structure, subfolder, name).items():
            kind = "noisy copy" if key in copies else kind_of(frame.info["origin"])
            apart = float(np.linalg.norm(frame.positions[first] - frame.positions[second]))
            values.setdefault(kind, []).append(apart)
    every = np.array([value for kind in values.values() for value in kind])
    if not len(every):
        return {"edges": [], "counts": {}, "unknown": max(unknown, 0)}
    edges = np.histogram_bin_edges(every, bins=BINS)
    counts = {kind: np.histogram(values[kind], edges)[0].tolist() for kind in sorted(values)}
    return {"edges": _rounded(edges), "counts": counts, "unknown": max(unknown, 0)}


def _of_system(
    labels: Mapping[str, Atoms], structure: Atoms | None, subfolder: str, name: str
) -> dict[str, Atoms]:
    """Return the labels of a system: of its origin, or of its atoms where an origin names none."""

    def belongs(frame: Atoms) -> bool:
        _, names, system = frame.info["origin"].partition(", ")
        if subfolder and names and system != name:
            return False
        return structure is None or frame.numbers.tolist() == structure.numbers.tolist()

    return {key: frame for key, frame in labels.items() if belongs(frame)}


def kind_of(origin: str) -> str:
    """Return where a label came from, without its iteration and its system."""
    begin = origin.partition(",")[0].strip() or "not said"
    head, _, last = begin.rpartition(" ")
    begin = head if last.isdigit() else begin
    return {"iteration": "candidate", "initial": "initial data"}.get(begin, begin)


def by_origin(labels: Mapping[str, Atoms]) -> list[tuple[str, int]]:
    """Count labels by where they came from, the most first."""
    return Counter(kind_of(frame.info["origin"]) for frame in labels.values()).most_common()


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.5g}") for value in values.tolist()]
