"""How fast and how dependable labels by the real DFTB+ are; one JSON line a measure.

Needs `dftb+` on PATH, the Slater-Koster files and labelled hexane:

    python benchmarks/label.py --data FOLDER [--only NAME ...]

FOLDER holds `3ob/`, `hexane/` and `cases/`. Reference for the pull: Jung, Choi, Lee, Digital
Discovery 2024, 3, 514, whose authors report 1.53 steps/s for 24 atoms.
"""

import argparse
import contextlib
import io
import json
import lzma
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from alrare.config import Labeller, Pull
from alrare.exploration.labeller_runs import run_pulls
from alrare.frames import label_of
from alrare.labelling.batch import Labelled, label
from alrare.labelling.dftb.run import read_label
from alrare.labelling.failures import LabelFailure
from alrare.labelling.store import LabelStore
from alrare.progress import SilentProgress
from alrare.structure import closest_pair
from ase import Atoms

WORKERS = 2
EXPECTED = {
    "ok_relaxed": "ok",
    "ok_stretched": "ok",
    "ok_broken_T1000": "ok",
    "close_contact_CC_0.45": "unphysical",
    "close_contact_HH_0.3": "unphysical",
    "scc_fail_broken_T0": "not_converged",
    "scc_fail_maxiter5": "not_converged",
    "scc_warn_broken_T0_convonly_no": "not_converged",
    "nan_coordinate": "unphysical",
    "coincident_atoms": "unphysical",
    "missing_skf": "rejected",
    "missing_one_skf_HC": "rejected",
    "missing_hubbard_H": "rejected",
    "truncated_skf": "rejected",
    "truncated_geo": "rejected",
    "bad_keyword_CalculateForces": "rejected",
    "no_dftb_in": "rejected",
}


def main() -> None:
    """Run the measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    measures: dict[str, Callable[[Path, Path], None]] = {
        "accuracy": accuracy,
        "throughput": throughput,
        "pull": pull,
        "cases": cases,
        "killed": killed,
    }
    parser.add_argument("--only", nargs="+", choices=measures, default=list(measures))
    options = parser.parse_args()
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            measures[name](options.data.resolve(), Path(folder))


def say(measure: str, value: Any, target: Any, met: bool, **more: Any) -> None:
    """Print one line."""
    line = {"measure": measure, "value": value, "target": target, "met": bool(met), **more}
    print(json.dumps(line), flush=True)


def accuracy(data: Path, folder: Path) -> None:
    """Compare labels of calm and broken hexane with those of another run of DFTB+."""
    known = [*hexanes(data, "nvt500K_dftb3", 40)[:50], *hexanes(data, "smd_v1_Te300", 130)[:50]]
    batch(data, folder, known)
    with LabelStore(folder / "labels.sqlite") as store:
        ours = {frame.positions.tobytes(): label_of(frame) for frame in store.frames(store.keys())}
    energies, forces = [], []
    for frame in known:
        energy, force = ours[frame.positions.tobytes()]
        energies.append(abs(energy - label_of(frame)[0]))
        forces.append(np.abs(force - label_of(frame)[1]).max())
    say("energy error of 100 known labels (eV)", max(energies), 1e-4, max(energies) <= 1e-4)
    say("force error of 100 known labels (eV/A)", max(forces), 1e-3, max(forces) <= 1e-3)


def throughput(data: Path, folder: Path) -> None:
    """Label hexane on two cores, kept alive and by one process a label, by turns."""
    frames = hexanes(data, "nvt500K_dftb3", 1)[1:]
    seconds = {"auto": 0.0, "process": 0.0}
    counts = {"auto": 600, "process": 100}
    for turn in range(3):
        for engine, n in counts.items():
            some = frames[turn * 600 : turn * 600 + n]
            begin = time.perf_counter()
            batch(data, folder / f"{engine}{turn}", some, engine=engine)
            seconds[engine] += time.perf_counter() - begin
    rates = {engine: 3 * counts[engine] / seconds[engine] for engine in counts}
    ratio = rates["auto"] / rates["process"]
    say(
        "labels per second, kept alive / one process per call, two cores",
        round(ratio, 2),
        5.0,
        ratio >= 5,
        kept_alive=round(rates["auto"], 1),
        one_process_per_call=round(rates["process"], 1),
    )


def pull(data: Path, folder: Path) -> None:
    """Run the paper's pull with the labeller: 2000 steps of relaxation and 6500 of pulling."""
    settings = Pull(atoms=(1, 6), seeds=(1,))
    steps = settings.relax_steps + settings.steps
    begin = time.perf_counter()
    run_pulls(
        structure=hexanes(data, "smd_v1_Te300", 10_000)[0],
        elements=["H", "C"],
        labeller=labeller(data),
        pull=settings,
        timestep=0.5,
        folder=folder,
        workers=1,
        progress=SilentProgress(),
    )
    rate = steps / (time.perf_counter() - begin)
    say("reference pull, 8500 steps (steps/s)", round(rate, 1), 60.0, rate >= 60)


def cases(data: Path, folder: Path) -> None:
    """Classify recorded runs of DFTB+, one a way to fail."""
    outcomes = {name: outcome(data / "cases" / name) for name in EXPECTED}
    wrong = [name for name, found in outcomes.items() if found != EXPECTED[name]]
    accepted = [name for name in wrong if outcomes[name] == "ok"]
    right = len(EXPECTED) - len(wrong)
    say("failure cases classified", right, len(EXPECTED), not wrong, wrong=wrong)
    say("wrong labels accepted", len(accepted), 0, not accepted)


def outcome(case: Path) -> str:
    """Return what the labeller makes of a recorded run: checks of the frame, then of the output."""
    with contextlib.suppress(Exception):  # a geometry that was cut is for the program to refuse
        frame = ase.io.read(case / "geo.gen")
        sane = np.isfinite(frame.positions).all()
        distance = closest_pair(frame)[0] if sane else 0.0
        if distance < Labeller().min_distance:
            return "unphysical"
    try:
        read_label(case, int((case / "exitcode").read_text()), 20)
    except LabelFailure as failure:
        return failure.kind
    return "ok"


def killed(data: Path, folder: Path) -> None:
    """Kill one process of the label stage at random every second or so."""
    frames = hexanes(data, "nvt500K_dftb3", 2)[:1000]
    rng, stop, kills = np.random.default_rng(1), threading.Event(), []

    def kill() -> None:
        while not stop.wait(rng.uniform(0.5, 3.0)):
            victims = descendants(os.getpid())
            if victims:
                kills.append(int(rng.choice(victims)))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(kills[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        done = batch(data, folder, frames)
    finally:
        stop.set()
        killer.join()
    again = batch(data, folder, frames)
    with LabelStore(folder / "labels.sqlite") as store:
        in_store = store.counts().get("ok", 0)
    good = (len(done.keys), done.computed, in_store, again.computed) == (1000, 1000, 1000, 0)
    say("labels of 1000 while processes are killed", len(done.keys), 1000, good, kills=len(kills))
    twice = done.computed + again.computed - in_store
    say("labels made twice while processes are killed", twice, 0, twice == 0)


def labeller(data: Path, **settings: Any) -> Labeller:
    """DFTB3/3OB."""
    return Labeller(program="dftb+", slater_koster=data / "3ob", **settings)


def batch(data: Path, folder: Path, frames: list[Atoms], **settings: Any) -> Labelled:
    """Label frames on two cores."""
    return label(
        frames,
        labeller=labeller(data, **settings),
        store_path=folder / "labels.sqlite",
        folder=folder / "labels",
        workers=WORKERS,
        progress=SilentProgress(),
    )


def hexanes(data: Path, name: str, stride: int) -> list[Atoms]:
    """Every stride-th frame of a file of labelled hexane."""
    with lzma.open(data / "hexane" / f"hexane_{name}.extxyz.xz", "rt") as stream:
        lines = stream.readlines()
    size = int(lines[0]) + 2
    some = [
        line
        for first in range(0, len(lines), stride * size)
        for line in lines[first : first + size]
    ]
    frames: list[Atoms] = ase.io.read(io.StringIO("".join(some)), index=":", format="extxyz")
    return frames


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


if __name__ == "__main__":
    main()
