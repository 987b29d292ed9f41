"""Pull a molecule with a model or with the labeller, and compare the pulls.

Pulls of two potentials with the same seed start from the same velocities and, with the Langevin
thermostat, feel the same noise. So they are compared seed by seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from ..config import Labeller, Pull, Run
from ..errors import AlrareError
from ..files import PathLike, locked, write_json
from ..frames import read_frames
from ..model.engine import lammps_file
from ..model.ensemble import load_ensemble
from ..model.trained_states import check_state
from ..progress import Progress, SilentProgress
from ..structure import check_timestep, elements_of
from ..tables import NO_EVENT, mean_with_sem, number, table_text
from .exploration import ACTIVATION_ENERGY, SpringPull, cut_off_sentence
from .kept_settings import conditions_of, pulled_atoms
from .labeller_md import TRAJECTORY_FILE
from .labeller_runs import run_pulls
from .lammps_input import DUMP_FILE, WORK_FILE
from .model_runs import simulate
from .observables import Observables, PlusSteps, observe, read_trajectory
from .plots import plot_work
from .work import mean_of, read_work

PULLS_FILE = "pulls.json"
_SHOWN = {
    "activation_energy": "E_a (eV)",
    "work_at_event": "W at event (eV)",
    "peak_force": "peak force (eV/Å)",
    "peak_energy": "peak energy (eV)",
}
"""Observables that are averaged over the pulls, and their headings."""


def pull_with_model(
    *,
    model: PathLike,
    structure: Atoms,
    pull: Pull,
    folder: PathLike,
    timestep: float = 0.5,
    forces: Literal["best", "mean"] = "mean",
    run: Run | None = None,
    progress: Progress | None = None,
) -> dict[int, Observables]:
    """Pull a molecule with an ensemble, once per seed.

    Parameters
    ----------
    model : Path or str
        Folder of the model, or one of its two files.
    structure : Atoms
        A molecule.
    pull : Pull
        Spring, thermostat and seeds.
    folder : Path or str
        Receives one folder ``pull_SEED`` per seed; finished pulls in it are not repeated.
    timestep : float, fs
        MD time step.
    forces : {"best", "mean"}
        Whose forces move the atoms.
    run : Run, optional
        LAMMPS program, MPI ranks, number of processes, and device of the ensemble.
    progress : Progress, optional
        Receives one stage that counts the MD steps; by default nothing is shown.

    Returns
    -------
    dict
        Observables by seed; a pull that blew up before its first step is missing.

    Raises
    ------
    AlrareError
        If the model does not fit the molecule (its elements, or the charge and multiplicity that it
        was trained on), LAMMPS fails, another process pulls into the folder, or it holds pulls of
        other settings.
    """
    _check_arguments("pull_with_model", structure=(structure, Atoms), pull=(pull, Pull))
    run, folder = run or Run(), Path(folder).absolute()
    check_timestep(timestep, structure)
    metadata = load_ensemble(model).metadata
    check_state(structure, metadata.training, structure.get_chemical_formula())
    with locked(folder):
        results = simulate(
            model=lammps_file(model),
            structure=structure,
            elements=metadata.elements,
            exploration=SpringPull(pull, timestep),
            select=None,
            timestep=timestep,
            forces=forces,
            folder=folder,
            run=run,
            workers=run.workers,
            progress=progress or SilentProgress(),
        )
    seeds = [result.seed for result in results if result.table is not None]
    return observe_pulls(folder, seeds, plus_steps=pull.plus_steps)


def pull_with_labeller(
    *,
    labeller: Labeller,
    structure: Atoms,
    pull: Pull,
    folder: PathLike,
    timestep: float = 0.5,
    workers: int = 0,
    lmp: str = "lmp",
    progress: Progress | None = None,
) -> dict[int, Observables]:
    """Pull a molecule with the labeller, once per seed.

    The pulls run LAMMPS with `pair_style labeller`. They are the reference that pulls by a model
    are compared with: see `summarize`.

    Parameters
    ----------
    labeller : Labeller
        The electronic-structure method, as in `[labeller]` of al.toml.
    structure : Atoms
        A molecule; the pull starts from it as it is, after `pull.relax_steps` of MD.
    pull : Pull
        Spring, thermostat and seeds.
    folder : Path or str
        Receives one folder ``pull_SEED`` per seed; finished pulls in it are not repeated.
    timestep : float, fs
        MD time step.
    workers : int
        Pulls at a time, one thread each; 0 means one per core.
    lmp : str
        The LAMMPS program.
    progress : Progress, optional
        Receives one stage that counts the MD steps; by default nothing is shown.

    Returns
    -------
    dict
        Observables by seed.

    Raises
    ------
    LabelError
        If the labeller is not installed, or a label fails.
    AlrareError
        If LAMMPS cannot be started or fails, another process pulls into the folder, or it holds
        pulls of other settings.
    """
    _check_arguments(
        "pull_with_labeller",
        structure=(structure, Atoms),
        pull=(pull, Pull),
        labeller=(labeller, Labeller),
    )
    check_timestep(timestep, structure)
    folder = Path(folder).absolute()
    with locked(folder):
        run_pulls(
            structure=structure,
            elements=elements_of(structure),
            labeller=labeller,
            pull=pull,
            timestep=timestep,
            folder=folder,
            workers=workers,
            lmp=lmp,
            progress=progress or SilentProgress(),
        )
    return observe_pulls(folder, pull.seeds, plus_steps=pull.plus_steps)


def observe_pulls(
    folder: Path,
    seeds: Sequence[int] | None = None,
    *,
    plus_steps: PlusSteps = Pull.model_fields["plus_steps"].default,
) -> dict[int, Observables]:
    """Read the observables of finished pulls.

    Parameters
    ----------
    folder : Path
        Holds ``pull_SEED``: a folder of `alrare smd`, a campaign's iteration, or its reference.
    seeds : sequence of int, optional
        The pulls to read; by default all pulls in the folder.
    plus_steps : int, "slack" or "all"
        As `[pull] plus_steps`.

    Raises
    ------
    AlrareError
        If the folder holds no pulls, or a file is damaged.
    """
    found = {int(path.name.removeprefix("pull_")): path for path in folder.glob("pull_[0-9]*")}
    if not found:
        raise AlrareError(
            f"{folder}: holds no pulls; expected a folder of `alrare smd`, an iteration of a"
            " campaign (runs/NAME/iter_004), or its reference (runs/NAME/reference)"
        )
    wanted = sorted(found) if seeds is None else seeds
    return {
        seed: observe(
            read_work(found[seed] / WORK_FILE),
            trajectory_of(found[seed]),
            plus_steps=plus_steps,
            **asdict(conditions_of(found[seed])),
            pulled=pulled_atoms(found[seed]),
        )
        for seed in wanted
    }


def write_pulls(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write pulls.json and draw the work curves of all pulls in a folder."""
    write_json(folder / PULLS_FILE, summary)
    curves = {
        path.parent.name.removeprefix("pull_"): read_work(path)
        for path in sorted(folder.glob(f"pull_*/{WORK_FILE}"))
    }
    decided = [
        (float(np.interp(pull["peak_step"], curve.step, curve.distance)), value)
        for seed, pull in summary["pulls"].items()
        if (curve := curves.get(seed)) and (value := pull["activation_energy"]) is not None
    ]
    plot_work(
        folder / "work_curves", reference=(), iterations={0: list(curves.values())},
        names={0: "pulls"}, decided=decided,
    )  # fmt: skip


def summarize(
    pulls: Mapping[int, Observables], against: Mapping[int, Observables] | None = None
) -> dict[str, Any]:
    """Return the content of `pulls.json`: every pull, the means, and differences seed by seed.

    Parameters
    ----------
    pulls : mapping from seed to Observables
    against : mapping from seed to Observables, optional
        Pulls by another potential. Differences are `pulls` minus `against`, over the seeds that
        both have.

    Returns
    -------
    dict
        ``pulls`` by seed; ``mean`` and, with `against`, ``difference``, which hold mean, sem (None
        for one pull) and n of each observable, in eV or eV/Å; and, with `against`, ``same_event``,
        the number of common seeds in whose pulls the same bond, or one equivalent by symmetry,
        broke or formed; and ``against_cut_off``, the number of those of which the activation energy
        in `against` is cut off. The activation energy of a pull without an event is None and enters
        no mean.
    """
    content: dict[str, Any] = {
        "pulls": {str(seed): pull.to_json() for seed, pull in pulls.items()},
        "mean": {
            key: mean_record([getattr(pull, key) for pull in pulls.values()]) for key in _SHOWN
        },
    }
    if against is not None:
        shared = sorted(pulls.keys() & against.keys())
        content["difference"] = {
            key: mean_record(
                [minus(getattr(pulls[s], key), getattr(against[s], key)) for s in shared]
            )
            for key in _SHOWN
        }
        content["against_cut_off"] = sum(against[s].cut_off for s in shared)
        events = [(pulls[s].event, against[s].event) for s in shared]
        content["same_event"] = sum(one is not None and one.is_like(other) for one, other in events)
    return content


def pulls_table(summary: Mapping[str, Any], *, width: int = 100) -> str:
    """Return the result of `summarize` as a table for a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("seed", *_SHOWN.values(), "event"):
        table.add_column(heading, justify="right", no_wrap=True)
    for seed, pull in summary["pulls"].items():
        energy, *others = (number(pull[key]) for key in _SHOWN)
        event = pull["event"]
        if event is None:
            table.add_row(seed, NO_EVENT, *others, "none")
        else:
            bond = "-".join(map(str, event["atoms"]))
            table.add_row(seed, energy, *others, f"{bond} {event['kind']}")
    table.add_section()
    table.add_row("mean", *(mean_with_sem(summary["mean"][key]) for key in _SHOWN))
    if "difference" in summary:
        difference = [mean_with_sem(summary["difference"][key], "+") for key in _SHOWN]
        table.add_row("difference", *difference, f"{summary['same_event']} the same")
    text = table_text(table, width=width)
    n_cut_off = sum(pull.get("cut_off", False) for pull in summary["pulls"].values())
    if n_cut_off:
        observable = ACTIVATION_ENERGY.to_json()
        text += f"\nWARNING {cut_off_sentence(n_cut_off, len(summary['pulls']), observable)}"
    if summary.get("against_cut_off"):
        n, of = summary["against_cut_off"], len(summary["pulls"])
        sentence = cut_off_sentence(n, of, ACTIVATION_ENERGY.to_json())
        text += f"\nWARNING of those compared with, {sentence}"
    return text


def _check_arguments(function: str, **given: tuple[object, type]) -> None:
    """Refuse arguments of another type."""
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            raise AlrareError(
                f"{function}: {name}: expected {kind.__module__.partition('.')[0]}'s"
                f" {kind.__name__}, got {type(value).__name__}"
            )


def trajectory_of(folder: Path) -> list[Atoms]:
    """Return the configurations of a finished run, by a model or by the labeller."""
    dump = folder / DUMP_FILE
    return read_trajectory(dump) if dump.is_file() else read_frames(folder / TRAJECTORY_FILE)


def mean_record(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return mean, sem and n of the values that are known; None if there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = mean_of(known)
    return {"mean": mean.mean, "sem": mean.sem, "n": mean.n}


def minus(one: float | None, other: float | None) -> float | None:
    """Return the difference; None if a value is not known."""
    return None if one is None or other is None else one - other
