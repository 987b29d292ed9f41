"""The campaign: the reference, then iterations of train, simulate, evaluate, select and label.

Each stage reads and writes files. This module decides their order, draws the random seeds, and
finds in the run folder what is done already.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..background import Background
from ..config import Config, load_config
from ..execution.choose import open_executor, unused_machines, works_for_another
from ..exploration.exploration import cut_off_sentence
from ..exploration.try_input import try_exploration
from ..files import PathLike, locked, read_json, write_json
from ..frames import label_of
from ..labelling.store import LabelStore
from ..model.accuracy import compare
from ..model.calibration import factors_of, write_calibration
from ..model.ensemble import load_ensemble
from ..progress import Progress, SilentProgress, with_log
from ..training.ensemble import is_trained, train_ensemble
from .budgets import label_all_candidates, label_around_events
from .context import Campaign, System, systems_of
from .convergence import Convergence, judge
from .evaluate import evaluate
from .explored import Explored, explore, observe_reference, test_pulls, values_of
from .given_labels import given_labels, last_model
from .reference import Reference, run_reference
from .report import (
    convergence_line,
    iteration_table,
    outcome,
    reference_line,
    write_plots,
)
from .results import (
    iteration_record,
    read_results,
    reference_record,
    system_record,
    write_results,
)
from .run_folder import timed, write_config
from .training_data import TrainingData, first_data, grown_data


def run_campaign(
    config_path: PathLike,
    *,
    runs: PathLike = "runs",
    progress: Progress | None = None,
    retry: bool = False,
) -> Path:
    """Run a campaign to its end, or continue one that was interrupted.

    Parameters
    ----------
    config_path : Path or str
        The al.toml, which is copied into the run folder.
    runs : Path or str
        The campaign's folder is ``runs / name``.
    progress : Progress, optional
        Shows the progress; by default it is written to log.txt in the run folder only.
    retry : bool
        Try all labels of unfinished stages again that failed, whatever the reason. Otherwise only
        those whose cause may have been removed are tried again.

    Returns
    -------
    Path
        The run folder, described in docs/run_folder.md.

    Raises
    ------
    AlrareError
        If a stage cannot go on. Finished stages are kept and not repeated by the next call.
    """
    config = load_config(config_path)
    if works_for_another(config):
        return (Path(runs) / config.name).resolve()
    with (
        _open_campaign(config, Path(config_path), Path(runs), progress, retry) as campaign,
        Background() as beside,
    ):
        given_labels(campaign)  # what is wrong with them is said before the labeller's long runs
        references = _references(campaign)
        before = _Step(first_data(campaign, references), {}, {}, {})
        for iteration in range(config.iterations + 1):
            step = _iterate(campaign, iteration, references, before, beside)
            before = step
            if step.converged:
                break
        beside.wait()
        campaign.progress.message(
            f"{campaign.folder}: finished, {_outcome(step.converged, campaign)}; results.json,"
            " work_curves.png and errors.png are there;"
            f" `alrare report {campaign.folder}` makes one page of them"
        )
        return campaign.folder


def _outcome(converged: bool, campaign: Campaign) -> str:
    config = campaign.config
    if converged:
        return outcome(read_results(campaign.folder), config.stop)
    if config.stop.small_changes == 0:
        return f"{config.iterations} iterations done"
    n = config.iterations
    return (
        f"NOT converged in {n} iteration{'s' * (n != 1)} (`iterations` may be raised in al.toml;"
        " the same command then goes on)"
    )


def run_reference_alone(
    config_path: PathLike,
    *,
    runs: PathLike = "runs",
    progress: Progress | None = None,
    retry: bool = False,
) -> Path:
    """Make only the reference of a campaign; arguments as in `run_campaign`."""
    config = load_config(config_path)
    if works_for_another(config):
        return (Path(runs) / config.name).resolve()
    with _open_campaign(config, Path(config_path), Path(runs), progress, retry) as campaign:
        _references(campaign)
        return campaign.folder


@dataclass(frozen=True)
class _Step:
    """What the next iteration needs of the iterations so far; mappings are by system."""

    data: TrainingData
    """The labels to train on."""
    history: Mapping[str, Sequence[Mapping[int, float]]]
    """The observable of the model's runs by seed, in its unit, of each iteration."""
    convergence: Mapping[str, Convergence]
    """Judgment on the last iteration."""
    reached: Mapping[str, float]
    """Largest energy that the pulls of an iteration reached until their events, eV above their
    start: the median over the seeds, which a pull that blew up does not change."""

    @property
    def converged(self) -> bool:
        """Whether every system has converged in the last iteration."""
        return all(one.converged for one in self.convergence.values())


def _references(campaign: Campaign) -> dict[str, Reference]:
    """Make the reference of every system, or find it; return it by the system's name."""
    references = {system.name: _reference(campaign, system) for system in campaign.systems}
    if not read_results(campaign.folder)["reference"]:
        records = {
            system.name: reference_record(
                system.exploration.quantity.key,
                observe_reference(system, reference, test_pulls(reference)),
            )
            for system, reference in zip(campaign.systems, references.values(), strict=True)
        }
        write_results(
            campaign.folder, observables=_observables(campaign), reference=records, iterations=[]
        )
        for system in campaign.systems:
            of_system = f"{system.name}: " if len(records) > 1 else ""
            line = reference_line(records[system.name], system.exploration.quantity.to_json())
            campaign.progress.message(f"{of_system}{line}")
            n, of = records[system.name]["n_cut_off"], records[system.name]["n_runs"]
            _tell_cut_off(campaign, system, "reference", n, of)
    return references


def _tell_cut_off(campaign: Campaign, system: System, where: str, n: int, of: int) -> None:
    """Warn if the observable of runs was still growing where the run or `plus_steps` ended."""
    if n:
        sentence = cut_off_sentence(n, of, system.exploration.quantity.to_json())
        of_system = f", {system.name}" if len(campaign.systems) > 1 else ""
        campaign.progress.message(f"WARNING {where}{of_system}: {sentence}")


def _observables(campaign: Campaign) -> dict[str, dict[str, Any]]:
    """Return what results.json says of the observable of each system."""
    return {system.name: system.exploration.quantity.to_json() for system in campaign.systems}


def _reference(campaign: Campaign, system: System) -> Reference:
    config = campaign.config
    known = []
    if isinstance(config.reference, Path):
        known.append(config.reference / "reference" / system.subfolder)
    if system.twin:
        known.append(campaign.folder / "reference" / system.twin)
    return run_reference(
        structure=system.structure,
        elements=campaign.elements,
        labeller=config.labeller,
        initial=config.initial,
        exploration=system.exploration,
        timestep=config.timestep,
        folder=campaign.folder / "reference" / system.subfolder,
        store_path=campaign.store_path,
        workers=campaign.executor,
        progress=campaign.progress,
        retry=campaign.retry,
        known=known,
        runs=config.reference != "none",
        lmp=config.run.lmp,
    )


def _iterate(
    campaign: Campaign,
    iteration: int,
    references: Mapping[str, Reference],
    before: _Step,
    beside: Background,
) -> _Step:
    """Do one iteration, and return what the next one needs.

    Its evaluation decides nothing, and is done beside the training of the next one.
    """
    folder, data, systems = campaign.folder / f"iter_{iteration:03d}", before.data, campaign.systems
    if not (folder / "dataset.json").is_file():
        write_json(folder / "dataset.json", data.to_json())
    with timed(folder, "train"):
        model = _train(campaign, iteration, data, folder)
    with timed(folder, "simulate"):
        explored = {
            system.name: explore(campaign, system, folder, references[system.name])
            for system in systems
        }
    for system in systems:
        observed = explored[system.name].observables.values()
        n_cut_off = sum(one.cut_off for one in observed)
        _tell_cut_off(campaign, system, folder.name, n_cut_off, len(observed))
    with timed(folder, "label around the event"):
        around, errors = label_around_events(
            campaign, iteration, folder, model, references, explored, before.convergence
        )
    history = {
        system.name: [
            *before.history.get(system.name, ()),
            values_of(explored[system.name].observables),
        ]
        for system in systems
    }
    tolerances = {
        system.name: system.exploration.quantity.tolerance or campaign.config.stop.tolerance
        for system in systems
    }
    convergence = {
        name: judge(
            history[name],
            finished=all(run.finished for run in explored[name].runs),
            around_event=errors[name],
            stop=campaign.config.stop,
            n_atoms=len(references[name].structure),
            tolerance=tolerances[name],
        )
        for name in history
    }
    reached = {
        name: max(before.reached.get(name, 0.0), explored[name].energy_reached())
        for name in history
    }
    step = _Step(data, history, convergence, reached)
    ends = step.converged or iteration == campaign.config.iterations
    chosen, copies_of = ({name: list[str]() for name in history} for _ in range(2))
    if not ends:
        with timed(folder, "label"):
            chosen, copies_of = label_all_candidates(
                campaign, iteration, folder, explored, convergence
            )

    def score() -> None:
        with timed(folder, "evaluate", time.thread_time):
            for system in systems:
                name = system.name
                new = (chosen[name], around[name])
                _evaluate(campaign, system, folder, model, references[name], explored[name], new)
            _calibrate(campaign, model, [*chosen.values(), *around.values()])
        _report(campaign, iteration, folder, data, explored, chosen, convergence)

    beside.start(score)
    if ends:
        return step
    new_keys = {name: [*chosen[name], *copies_of[name], *around[name]] for name in history}
    best_member = load_ensemble(model).metadata.best_member
    lowest = {name: label_of(references[name].structure)[0] for name in history}
    grown = grown_data(campaign, data, new_keys, best_member, iteration + 1, lowest, reached)
    return _Step(grown, history, convergence, reached)


def _train(campaign: Campaign, iteration: int, data: TrainingData, folder: Path) -> Path:
    if is_trained(folder):
        return folder / "ensemble.safetensors"
    with LabelStore(campaign.store_path) as store:
        frames = store.frames(data.keys)
    return train_ensemble(
        frames,
        splits=data.splits,
        model=campaign.config.model,
        settings=campaign.config.train,
        seed=int(campaign.rng(iteration, "weights").integers(2**31)),
        folder=folder,
        cache=campaign.folder / "descriptors",
        method=campaign.method,
        workers=campaign.executor,
        progress=campaign.progress,
        start=_start(campaign, iteration),
    )


def _start(campaign: Campaign, iteration: int) -> Path | None:
    """Return the model whose weights the members start from; None for random weights."""
    config = campaign.config
    if config.train.start == "relabelled" and config.initial.relabel is not None:
        return last_model(config.initial.relabel)
    if config.train.start == "previous" and iteration > 0:
        return campaign.folder / f"iter_{iteration - 1:03d}" / "ensemble.safetensors"
    return None


def _evaluate(
    campaign: Campaign,
    system: System,
    folder: Path,
    model: Path,
    reference: Reference,
    explored: Explored,
    labels: Sequence[Sequence[str]],
) -> None:
    """Write metrics.json of a system, unless it is there."""
    target = folder / system.subfolder / "metrics.json"
    if target.is_file():
        return
    with campaign.progress.stage(f"evaluate ({folder.name})", total=None):
        frames = test_pulls(reference)
        with LabelStore(campaign.store_path) as store:
            new = [store.frames(keys) for keys in labels]
        evaluation = evaluate(
            model=model,
            forces=campaign.config.forces,
            test_pulls=list(frames.values()),
            new=new,
            key=system.exploration.quantity.key,
            runs=explored.observables,
            reference=observe_reference(system, reference, frames),
            finished=[run.seed for run in explored.runs if run.finished],
        )
    write_json(target, evaluation.to_json())


def _calibrate(campaign: Campaign, model: Path, labels: Sequence[Sequence[str]]) -> None:
    """Write into the model what its new labels say of its spread, unless it is there already.

    The pulls are known by the model as it was trained (`model_hash`), so they stay valid.
    """
    keys = [key for group in labels for key in group]
    if not keys or load_ensemble(model).metadata.calibration is not None:
        return
    with LabelStore(campaign.store_path) as store:
        frames = store.frames(keys)
    factors = factors_of(compare(model, frames, forces=campaign.config.forces).calibration())
    if factors is not None:
        write_calibration(model, factors)


def _report(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    data: TrainingData,
    explored: Mapping[str, Explored],
    chosen: Mapping[str, Sequence[str]],
    convergence: Mapping[str, Convergence],
) -> None:
    """Add the iteration to results.json, the plots and the table, unless it is there already."""
    results = read_results(campaign.folder)
    if len(results["iterations"]) > iteration:
        return
    systems = {
        system.name: system_record(
            evaluation=read_json(folder / system.subfolder / "metrics.json"),
            selection=[run.selection.to_json() for run in explored[system.name].runs],
            n_chosen=len(chosen[system.name]),
            convergence=convergence[system.name].to_json(),
            uncertainty=campaign.config.select.uncertainty,
            n_without_step=sum(run.table is None for run in explored[system.name].runs),
            biased=[run.selection.to_json() for run in explored[system.name].biased],
        )
        for system in campaign.systems
    }
    record = iteration_record(
        iteration=iteration,
        n_labels=len(data.keys),
        n_left_out=data.left_out,
        systems=systems,
        seconds=read_json(folder / "seconds.json"),
    )
    results["iterations"].append(record)
    write_results(
        campaign.folder,
        observables=_observables(campaign),
        reference=results["reference"],
        iterations=results["iterations"],
    )
    write_plots(campaign.folder)
    campaign.progress.message(
        f"{iteration_table(results)}\n\n{convergence_line(results, campaign.config.stop)}"
    )


@contextmanager
def _open_campaign(
    config: Config, config_path: Path, runs: Path, progress: Progress | None, retry: bool
) -> Iterator[Campaign]:
    systems = systems_of(config)
    folder = (runs / config.name).resolve()
    with locked(folder), with_log(progress or SilentProgress(), folder / "log.txt") as logged:
        write_config(config, systems, config_path, folder)
        campaign = Campaign(config, folder, systems, logged, retry)
        for system in systems:
            try_exploration(system.exploration, system.structure, campaign.elements, config)
        if config.run.executor == "local":
            _require_devices(config)
        if unused := unused_machines(config):
            logged.message(f"WARNING {unused}")
        with open_executor(config, folder) as executor:
            yield replace(campaign, executor=executor)


def _require_devices(config: Config) -> None:
    """Refuse a GPU that this machine does not have, before the labeller's long runs."""
    wanted = {"train": config.train.device, "run": config.run.device}
    on_gpu = {table: name for table, name in wanted.items() if name.startswith("cuda")}
    if not on_gpu:
        return
    from ..training.device import open_device  # imports torch

    for table, name in on_gpu.items():
        open_device(name, table)
