"""What the page shows, gathered from a run folder as plain numbers and texts.

A file that is missing or damaged takes away its part of the page and is named there; it never ends
the report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from ...errors import AlrareError
from ...files import read_json
from ...frames import read_frames
from ...labelling.store import STORE_FILE, LabelStore
from ..results import of_system, system_names
from ..run_folder import RESOLVED_FILE, STRUCTURE_FILE, stop_in
from .answer import answer, reference_times
from .curves import POINTS, POINTS_OF_RUN, run_folders, work_curves
from .film import films
from .labels import Compared, along_cv, by_origin, calibration, compared_labels


def page_data(run: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the page of a campaign shows.

    Parameters
    ----------
    run : Path
        The run folder.
    results : mapping
        `read_results`.

    Returns
    -------
    dict
        ``systems`` (see `_system`), ``films`` and ``films_missing``, ``costs``; all of it can be
        written as JSON.
    """
    config = _config(run)
    names = system_names(results) or [""]
    of_names = {name: of_system(results, name or None) for name in names}
    folders = {name: name if len(names) > 1 else "" for name in names}
    n_curves = sum(
        sum(1 for _ in run_folders(run, folders[name], one["observable"]["runs"]))
        for name, one in of_names.items()
    )
    points = max(2, min(POINTS_OF_RUN, POINTS // max(n_curves, 1)))
    labels, failed, no_labels = _labels(run)
    structures = _structures(run, config, names)
    shown, films_missing = films(run, [(name, folders[name], of_names[name]) for name in names])
    return {
        "systems": [
            _system(
                run, config, name, folders[name], of_names[name], points=points,
                labels=labels, no_labels=no_labels, structure=structures.get(name),
            )
            for name in names
        ],
        "films": shown,
        "films_missing": films_missing or ([] if shown else ["there is no trajectory yet"]),
        "costs": _costs(run, results, labels, failed, no_labels),
    }  # fmt: skip


def _system(
    run: Path,
    config: Mapping[str, Any],
    name: str,
    subfolder: str,
    results: Mapping[str, Any],
    *,
    points: int,
    labels: Mapping[str, Atoms],
    no_labels: str,
    structure: Atoms | None,
) -> dict[str, Any]:
    """Return what the page shows of one system: its answer, curves, calibration and labels."""
    observable, missing = results["observable"], []
    curves, unread = work_curves(run, subfolder, results, points=points)
    missing += unread
    found: list[Compared] = []
    try:
        found = compared_labels(run, subfolder, observable, labels)
    except AlrareError as error:
        missing.append(str(error).replace(f"{run}/", ""))
    cv_labels = along_cv(
        run,
        subfolder,
        labels=labels,
        structure=structure,
        name=name,
        pulled=_pulled(config, name) if observable["x"][0] == "distance" else None,
        found=found,
    )
    return {
        "name": name,
        "observable": observable,
        "answer": answer(
            results,
            stop=stop_in(config),
            n_atoms=None if structure is None else len(structure),
            iterations=config.get("iterations"),
        ),
        "by_iteration": _by_iteration(results),
        "curves": curves,
        "calibration": calibration(found, results["iterations"]),
        "labels": cv_labels | {"why": no_labels, "event": _event_cv(curves)},
        "biased": _biased(config, observable),
        "missing": missing,
    }


def _by_iteration(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the observable by iteration, and that of the labeller."""
    key, reference = results["observable"]["key"], results["reference"]
    rows = results["iterations"]
    return {
        "iteration": [row["iteration"] for row in rows],
        "value": [row.get(key) for row in rows],
        "sem": [row.get(f"{key}_sem") for row in rows],
        "labels": [row.get("n_labels") for row in rows],
        "reference": reference.get(key),
        "reference_sem": reference.get(f"{key}_sem"),
    }


def _event_cv(curves: Sequence[Mapping[str, Any]]) -> float | None:
    """Return where on the cv the last model's observable is decided, on average."""
    last = max((one["iteration"] for one in curves if one["iteration"] is not None), default=None)
    at = [
        one["x"][one["peak"]]
        for one in curves
        if one["iteration"] == last and one["peak"] is not None
    ]
    known = [value for value in at if value is not None]
    return sum(known) / len(known) if known else None


def _biased(config: Mapping[str, Any], observable: Mapping[str, Any]) -> str:
    select = config.get("select") or {}
    bias = select.get("bias", "none")
    if bias == "none":
        return ""
    return (
        f"The {observable['runs']}s of each iteration that have a bias ({bias}) are not drawn: they"
        " only give candidates."
    )


def _costs(
    run: Path,
    results: Mapping[str, Any],
    labels: Mapping[str, Atoms],
    failed: int,
    no_labels: str,
) -> dict[str, Any]:
    """Return the seconds of each stage by iteration, and the labels by where they came from."""
    rows = results["iterations"]
    stages = dict.fromkeys(stage for row in rows for stage in row.get("seconds") or {})
    seconds = {
        stage: [(row.get("seconds") or {}).get(stage, 0.0) for row in rows] for stage in stages
    }
    return {
        "iterations": [row["iteration"] for row in rows],
        "seconds": seconds,
        "totals": {stage: sum(values) for stage, values in seconds.items()},
        "whole": sum(sum(values) for values in seconds.values()),
        "reference": reference_times(run / "log.txt"),
        "labels": by_origin(labels),
        "n_labels": len(labels),
        "failed": failed,
        "why": no_labels,
    }


def _labels(run: Path) -> tuple[dict[str, Atoms], int, str]:
    """Return the good labels by key, the number of failed ones, and why there are none."""
    path = run / "labels" / STORE_FILE
    if not path.is_file():
        return {}, 0, "labels/labels.sqlite is not there"
    try:
        with LabelStore(path) as store:
            keys = store.keys()
            frames = dict(zip(keys, store.frames(keys), strict=True))
            failed = sum(store.counts().values()) - len(keys)
    except AlrareError as error:  # busy, or on a read-only disk
        return {}, 0, str(error).replace(f"{run}/", "")
    return frames, failed, "" if frames else "there are no labels yet"


def _config(run: Path) -> dict[str, Any]:
    """Return the configuration with every default; empty if it cannot be read."""
    try:
        content = read_json(run / RESOLVED_FILE)
    except AlrareError:
        return {}
    return content if isinstance(content, dict) else {}


def _structures(run: Path, config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Atoms]:
    """Return the structures by the name of their system, as far as they can be told."""
    try:
        frames = read_frames(run / STRUCTURE_FILE)
    except AlrareError:
        return {}
    return dict(zip(names, frames, strict=True)) if len(frames) == len(names) else {}


def _pulled(config: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    """Return the pulled atoms of a system, from 1; None if they cannot be told."""
    tables = [one for one in config.get("system") or [] if one.get("name") == name]
    tables += [config.get("pull") or {}]
    for table in tables:
        atoms = table.get("atoms")
        if atoms and len(atoms) == 2:
            return int(atoms[0]), int(atoms[1])
    return None
