"""A small run folder, as a finished campaign leaves it, for the tests of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from alrare.campaign.results import (
    iteration_record,
    reference_record,
    system_record,
    write_results,
)
from alrare.exploration.exploration import ACTIVATION_ENERGY, Observed, Quantity
from alrare.exploration.observables import Observables
from alrare.files import write_json
from alrare.frames import labelled, write_frames
from alrare.labelling.store import LabelStore
from ase import Atoms

STEPS = 400
STRIDE = 10
BREAK = 200
"""MD step at which the bond is longer than 1.45 times its first length."""
OFFSET = 0.3
"""eV; the constant that all energies of the models are off."""
ERRORS = (0.4, 0.02)
"""eV; energy errors of the models of the iterations, with alternating signs."""
STOP = {"small_changes": 1, "tolerance": 0.05, "energy_error": 0.02, "force_error": 0.05}


def molecule(step: int) -> Atoms:
    """Two carbon atoms that are pulled apart, with a hydrogen on the first."""
    x = 1.5 + 0.7 * step / BREAK
    return Atoms("CCH", [[0, 0, 0], [x, 0, 0], [-0.6, 0.9, 0]], info={"step": step})


def energy(step: int) -> float:
    """Potential energy of the labeller, eV."""
    return -10.0 + 2.0 * np.sin(step / STEPS * np.pi)


def write_run(
    folder: Path,
    *,
    systems: Sequence[str] = ("ethyl",),
    seeds: Sequence[int] = (1, 2),
    reference: bool = True,
    quantity: Quantity = ACTIVATION_ENERGY,
    bias: str = "none",
) -> Path:
    """Write a campaign of two iterations; return its folder."""
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('name = "ethyl"  # <script>alert(1)</script>\n')
    tables = {"pull": {"atoms": [1, 2]}} if quantity is ACTIVATION_ENERGY else {}
    select = {"bias": bias, "biased_runs": 1}
    resolved = {"name": "ethyl", "iterations": 1, "select": select, "stop": STOP, **tables}
    write_json(folder / "config.resolved.json", resolved)
    write_frames(folder / "structure.extxyz", [molecule(0) for _ in systems])
    (folder / "log.txt").write_text("2026-01-01 10:00:00 reference: done in 2 min 05 s\n")
    rows: list[dict[str, dict[str, Any]]] = [{} for _ in ERRORS]
    runs: dict[str, Observed] = {str(seed): _observed(6.0) for seed in seeds}
    with LabelStore(folder / "labels" / "labels.sqlite") as store:
        for place, name in enumerate(systems):
            sub = name if len(systems) > 1 else ""
            if reference:
                for seed in seeds:
                    _labeller_run(folder / "reference" / sub / f"{quantity.runs}_{seed}", quantity)
            of = f", {name}" if sub else ""
            for step in (3, 7):
                _put(store, step + place, f"initial{of}")
            for number, error in enumerate(ERRORS):
                home = folder / f"iter_{number:03d}" / sub
                for seed in seeds:
                    _model_run(home / f"{quantity.runs}_{seed}", quantity, error)
                rows[number][name] = _record(number, error, seeds, reference, quantity)
                _labels(store, home, number, error, of, place)
    known = {int(seed): one for seed, one in runs.items()} if reference else {}
    write_results(
        folder,
        observables={name: quantity.to_json() for name in systems},
        reference={name: reference_record(quantity.key, known) for name in systems},
        iterations=[
            iteration_record(
                iteration=number,
                n_labels=10 + 4 * number,
                n_left_out=0,
                systems=one,
                seconds={"train": 100.0, "simulate": 20.0, "evaluate": 5.0},
            )
            for number, one in enumerate(rows)
        ],
    )
    return folder


def _observed(value: float) -> Observables:
    return Observables(
        activation_energy=value,
        peak_step=BREAK + 20,
        work_at_event=value,
        event_step=BREAK + 10,
        event=None,
        peak_force=1.0,
        peak_energy=2.0,
    )


def _record(
    number: int, error: float, seeds: Sequence[int], reference: bool, quantity: Quantity
) -> dict[str, Any]:
    both = [{"event_step": BREAK + 10, "peak_step": BREAK + 20, quantity.key: 6.0 + error}]
    both += [both[0] | {quantity.key: 6.0}]
    calibration = {"n_frames": 4, "energy_std": error / 2, "energy_error": error}
    evaluation = {
        quantity.key: 6.0 + error,
        f"{quantity.key}_sem": 0.05,
        "n_runs": len(seeds),
        "error": error if reference else None,
        "error_sem": 0.01 if reference else None,
        "barrier_error": 0.004 if reference else None,
        "energy_mae_test": error if reference else None,
        "calibration": calibration | {"energy_ratio": 2.0, "energy_check": 1.1},
        "runs": [
            {
                "seed": seed,
                "finished": True,
                "model": both[0],
                "reference": both[1] if reference else None,
            }
            for seed in seeds
        ],
    }
    counts = {"threshold": 0.01, "selected": 2, "above": 9, "too_similar": 7, "unphysical": 0}
    last = number == len(ERRORS) - 1
    return system_record(
        evaluation=evaluation,
        selection=[counts for _ in seeds],
        n_chosen=2,
        convergence={
            "change": {"mean": 0.01, "sem": 0.005} if number else None,
            "settled": last,
            "around_event": {"n_frames": 2, "energy_mae": error / 4, "force_mae": 0.01},
            "converged": last,
        },
    )


def _table(path: Path, quantity: Quantity, error: float | None) -> None:
    model = " energy_std/eV" if error is not None else ""
    x, y = quantity.x[0], quantity.y[0]
    lines = [f"# step {x} {y} force potential_energy/eV temperature/K{model}\n"]
    for step in range(STEPS + 1):
        work = 6.0 * min(step / BREAK, 1.0) + (error or 0.0)
        sign = 1 if (step // STRIDE) % 2 else -1
        value = energy(step) + (0.0 if error is None else OFFSET + sign * error)
        std = "" if error is None else f" {error / 2}"
        lines.append(f"{step} {1.5 + 0.7 * step / BREAK} {work} 1 {value:.10g} 10{std}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


def _labeller_run(folder: Path, quantity: Quantity) -> None:
    _table(folder / quantity.table, quantity, None)
    frames = [
        labelled(molecule(step), energy(step), np.zeros((3, 3)))
        for step in range(STRIDE, STEPS + 1, STRIDE)
    ]
    write_frames(folder / "trajectory.extxyz", frames)


def _model_run(folder: Path, quantity: Quantity, error: float) -> None:
    _table(folder / quantity.table, quantity, error)
    text = []
    for step in range(0, STEPS + 1, STRIDE):
        frame = molecule(step)
        text.append(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{len(frame)}\n")
        text.append(
            "ITEM: BOX BOUNDS mm mm mm\n-9 9\n-9 9\n-9 9\nITEM: ATOMS id element xu yu zu\n"
        )
        text += [
            f"{row + 1} {atom.symbol} {atom.x:.10g} {atom.y:.10g} {atom.z:.10g}\n"
            for row, atom in enumerate(frame)
        ]
    (folder / "trajectory.lammpstrj").write_text("".join(text))


def _labels(store: LabelStore, home: Path, number: int, error: float, of: str, place: int) -> None:
    """Write two candidates with a noisy copy, and two labels around the event."""
    begin = 20 * number + place  # no two labels are of the same configuration
    candidates = []
    for row, step in enumerate((51 + begin, 56 + begin)):
        sign = 1 if row else -1
        members = [energy(step) + OFFSET + sign * error + part for part in (-0.01, 0.01)]
        frame = molecule(step)
        frame.info |= {"cv": frame.get_distance(0, 1), "energy_std": error / 2}
        frame.info |= {"member_energies": members, "pull": 0}
        candidates.append(frame)
    copy = molecule(51 + begin)
    copy.positions[2, 2] += 0.05 + 0.01 * place
    copy.info["copy_of"] = 0
    write_frames(home / "selected.extxyz", [*candidates, copy])
    chosen = [_put(store, frame, f"iteration {number}{of}") for frame in candidates]
    copies = [_put(store, copy, f"iteration {number}{of}")]
    write_json(home / "labels.json", {"chosen": chosen, "copies": copies})
    around = [
        _put(store, step, f"around the event {number}{of}")
        for step in (BREAK + 20 * number, BREAK + 10 + 20 * number)
    ]
    write_json(home / "around_event.json", {"keys": around})


def _put(store: LabelStore, what: int | Atoms, origin: str) -> str:
    frame = molecule(what) if isinstance(what, int) else what
    step = int(frame.info["step"])
    key = f"{origin} {step} {'copy' if 'copy_of' in frame.info else ''}"
    plain = Atoms(frame.symbols, frame.positions)
    store.put_ok(key, plain, energy=energy(step), forces=np.zeros((3, 3)), origin=origin)
    return key
