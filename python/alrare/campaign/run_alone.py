"""The explorations of an al.toml alone, by a model or by its labeller: `alrare explore`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config
from ..errors import AlrareError
from ..exploration.exploration import Exploration, Observed, SpringPull
from ..exploration.input_contract import SYSTEM_FILE, WATCH_FILE
from ..exploration.input_run import STRUCTURE_FILE, InputRun
from ..exploration.kept_settings import SAME_PLACE, check_comparable, molecule_of
from ..exploration.labeller_runs import run_seeds
from ..exploration.model_runs import RESULT_FILE, simulate
from ..exploration.smd import mean_record, minus, trajectory_of
from ..exploration.table import last_row
from ..files import PathLike, locked, read_json, write_json
from ..model.engine import lammps_file
from ..model.ensemble import load_ensemble
from ..model.trained_states import check_state
from ..progress import Progress, SilentProgress
from ..structure import elements_of
from .context import System, systems_of

OBSERVED_FILE = "observed.json"
"""What the runs in a folder have observed."""


def run_explorations(
    config: Config,
    folder: PathLike,
    *,
    model: PathLike | None = None,
    against: PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Run every exploration of a configuration, from its structures as they are.

    Parameters
    ----------
    config : Config
        Systems, `[pull]` or `[[explore]]`, `[labeller]`, `timestep`, `forces` and `[run]`.
    folder : Path or str
        Receives a folder per run, for several systems in a folder of each; finished runs in it are
        not repeated.
    model : Path or str, optional
        Folder of a model, or one of its files; by default the labeller of `config` runs them.
    against : Path or str, optional
        Folder of runs with the same settings, by another model or by the labeller: of this
        function, of an iteration of a campaign, or of its reference.
    progress : Progress, optional
        By default nothing is shown.

    Returns
    -------
    dict
        By the name of the system: ``observable`` (its ``name``, ``unit``, ``key``); ``runs``, what
        each seed has observed, and whether it ``finished``; ``mean`` (``mean``, ``sem``, ``n``;
        None without values); and, with `against`, ``difference``, taken seed by seed. It is written
        to ``observed.json`` too.

    Raises
    ------
    AlrareError
        If the model does not fit a system, a run fails, the folder holds runs of other settings, or
        those of `against` cannot be compared.
    """
    folder, progress = Path(folder).absolute(), progress or SilentProgress()
    systems = systems_of(config)
    others: dict[str, dict[int, Observed]] = {}
    if against is not None:
        for system in systems:
            place = Path(against) / system.subfolder
            _require_comparable(config, system, place, progress)
            others[system.name] = _observe(system.exploration, place)
    with locked(folder):
        for system in systems:
            if model is None:
                _by_labeller(config, system, folder / system.subfolder, progress)
            else:
                _by_model(config, system, folder / system.subfolder, Path(model), progress)
        content = {
            system.name: _summary(
                system.exploration, folder / system.subfolder, others.get(system.name)
            )
            for system in systems
        }
        write_json(folder / OBSERVED_FILE, content)
    return content


def _by_model(
    config: Config, system: System, folder: Path, model: Path, progress: Progress
) -> None:
    metadata = load_ensemble(model).metadata
    check_state(system.structure, metadata.training, system.structure.get_chemical_formula())
    simulate(
        model=lammps_file(model),
        structure=system.structure,
        elements=metadata.elements,
        exploration=system.exploration,
        select=None,
        timestep=config.timestep,
        forces=config.forces,
        folder=folder,
        run=config.run,
        workers=config.run.workers,
        progress=progress,
    )


def _by_labeller(config: Config, system: System, folder: Path, progress: Progress) -> None:
    run_seeds(
        system.exploration,
        structure=system.structure,
        elements=elements_of(system.structure),
        labeller=config.labeller,
        timestep=config.timestep,
        folder=folder,
        workers=config.run.workers,
        progress=progress,
        lmp=config.run.lmp,
    )


def _require_comparable(config: Config, system: System, place: Path, progress: Progress) -> None:
    """Refuse runs with other settings than those of an exploration."""
    exploration = system.exploration
    if isinstance(exploration, SpringPull):
        note = check_comparable(
            place, structure=system.structure, pull=exploration.pull, timestep=config.timestep
        )
        if note:
            progress.message(note)
        return
    assert isinstance(exploration, InputRun)
    for seed in exploration.seeds:
        run = place / f"{exploration.quantity.runs}_{seed}"
        if not run.is_dir():
            continue
        wanted = exploration.files(
            system.structure, elements_of(system.structure), seed=seed, timestep=config.timestep,
            potential="", select=None, by_model=False,
        )  # fmt: skip
        for name in (*exploration.texts, SYSTEM_FILE, WATCH_FILE):
            there = run / name
            text = there.read_text(encoding="utf-8") if there.is_file() else ""
            if _columns_of(text) != _columns_of(wanted[name]):
                raise AlrareError(
                    f"{run}: cannot be compared: its {name} is missing or another (input,"
                    " variables, groups, columns, time step or periodic directions); run with the"
                    " same settings"
                )
        symbols, positions = molecule_of(run / STRUCTURE_FILE)
        if symbols != system.structure.get_chemical_symbols():
            raise AlrareError(f"{run}: cannot be compared: it is a run of other atoms")
        apart = float(np.abs(positions - system.structure.positions).max())
        if apart > SAME_PLACE and seed == exploration.seeds[0]:
            progress.message(
                f"the runs in {place} start from another configuration: atoms are up to"
                f" {apart:.3g} Å elsewhere, which is part of the difference that is shown"
            )


def _columns_of(text: str) -> str:
    """Return a file of a run; of watch.lmp only what both model and labeller have."""
    if "fix table " not in text:
        return text
    line = next(line for line in text.splitlines() if line.startswith("fix table "))
    return line.partition(" $(c_thermo_pe")[0]


def _observe(exploration: Exploration, folder: Path) -> dict[int, Observed]:
    """Return what the finished runs in a folder have observed, by seed."""
    observed: dict[int, Observed] = {}
    quantity = exploration.quantity
    for seed in exploration.seeds:
        run = folder / f"{quantity.runs}_{seed}"
        if last_row(run / quantity.table) is None:
            continue
        observed[seed] = exploration.observe(run / quantity.table, trajectory_of(run))
    if not observed:
        raise AlrareError(
            f"{folder}: holds no run with one of the seeds {', '.join(map(str, exploration.seeds))}"
        )
    return observed


def _summary(
    exploration: Exploration, folder: Path, others: Mapping[int, Observed] | None
) -> dict[str, Any]:
    runs = _observe(exploration, folder)
    content: dict[str, Any] = {
        "observable": exploration.quantity.to_json(),
        "runs": {
            str(seed): {**run.to_json(), "finished": _finished(exploration, folder, seed)}
            for seed, run in runs.items()
        },
        "mean": mean_record([run.value for run in runs.values()]),
    }
    if others is not None:
        shared = runs.keys() & others.keys()
        content["difference"] = mean_record(
            [minus(runs[seed].value, others[seed].value) for seed in sorted(shared)]
        )
        content["against_cut_off"] = sum(others[seed].cut_off for seed in shared)
    return content


def _finished(exploration: Exploration, folder: Path, seed: int) -> bool:
    """Whether a run came to its end; the labeller's runs always do."""
    result = folder / f"{exploration.quantity.runs}_{seed}" / RESULT_FILE
    return not result.is_file() or bool(read_json(result)["finished"])
