"""The campaign: the reference, then iterations of train, simulate, evaluate, select and label.

Each stage reads and writes files. This module decides their order, draws the random seeds, and
finds in the run folder what is done already.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from ..config import Config, load_config
from ..exploration.labeller_md import TRAJECTORY_FILE
from ..exploration.lammps_input import WORK_FILE
from ..exploration.model_pulls import PullResult, model_file, simulate_pulls
from ..exploration.observables import Observables, observe, read_trajectory
from ..exploration.work import read_work
from ..files import PathLike, locked, read_json, write_json
from ..frames import label_of, read_frames
from ..labelling.store import LabelStore
from ..model.ensemble import load_ensemble
from ..progress import Progress, SilentProgress, with_log
from ..structure import elements_of, load_structure
from ..training.ensemble import is_trained, train_ensemble
from .around_break import label_around_break
from .context import Campaign
from .convergence import Convergence, judge
from .evaluate import evaluate
from .new_labels import label_candidates
from .reference import Reference, run_reference
from .report import convergence_line, iteration_table, reference_line, write_plots
from .results import iteration_record, read_results, reference_record, write_results
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
    with _open_campaign(Path(config_path), Path(runs), progress, retry) as campaign:
        config = campaign.config
        reference = _reference(campaign)
        data = first_data(campaign, reference)
        history: list[dict[int, float]] = []
        for iteration in range(config.iterations + 1):
            step = _iterate(campaign, iteration, data, reference, history)
            data, history = step.data, [*history, step.activation_energies]
            if step.converged:
                break
        campaign.progress.message(
            f"{campaign.folder}: finished, {_outcome(step.converged, config)}; results.json,"
            " work_curves.png and errors.png are there;"
            f" `alrare report {campaign.folder}` makes one page of them"
        )
        return campaign.folder


def _outcome(converged: bool, config: Config) -> str:
    if converged:
        return "converged"
    if config.stop.small_changes == 0:
        return f"{config.iterations} iterations done"
    return (
        f"NOT converged in {config.iterations} iterations (`iterations` may be raised in al.toml;"
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
    with _open_campaign(Path(config_path), Path(runs), progress, retry) as campaign:
        _reference(campaign)
        return campaign.folder


@dataclass(frozen=True)
class _Step:
    """Result of one iteration that the next one needs."""

    data: TrainingData
    activation_energies: dict[int, float]
    """Activation energy of each of the model's pulls by seed, eV."""
    converged: bool


def _reference(campaign: Campaign) -> Reference:
    config = campaign.config
    reference = run_reference(
        structure=campaign.structure,
        elements=campaign.elements,
        labeller=config.labeller,
        initial=config.initial,
        pull=config.pull,
        timestep=config.timestep,
        folder=campaign.folder / "reference",
        store_path=campaign.store_path,
        workers=campaign.workers,
        progress=campaign.progress,
        retry=campaign.retry,
        known=None if config.reference is None else config.reference / "reference",
        lmp=config.run.lmp,
    )
    if not read_results(campaign.folder)["reference"]:
        content = reference_record(_observe_reference(reference, _test_pulls(reference)))
        write_results(campaign.folder, reference=content, iterations=[])
        campaign.progress.message(reference_line({"reference": content}))
    return reference


def _test_pulls(reference: Reference) -> dict[int, list[Atoms]]:
    return {seed: read_frames(path / TRAJECTORY_FILE) for seed, path in reference.pulls.items()}


def _observe_reference(
    reference: Reference, test_pulls: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observables]:
    return _observe({seed: p / WORK_FILE for seed, p in reference.pulls.items()}, test_pulls)


def _iterate(
    campaign: Campaign,
    iteration: int,
    data: TrainingData,
    reference: Reference,
    history: Sequence[Mapping[int, float]],
) -> _Step:
    """Do one iteration, and return the data of the next."""
    folder = campaign.folder / f"iter_{iteration:03d}"
    if not (folder / "dataset.json").is_file():
        write_json(folder / "dataset.json", data.to_json())
    with timed(folder, "train"):
        model = _train(campaign, iteration, data, folder)
    with timed(folder, "simulate"):
        pulls = _simulate(campaign, folder, reference)
    with timed(folder, "observe"):
        curves = {pull.seed: pull.work for pull in pulls if pull.work is not None}
        trajectories = {p.seed: read_trajectory(p.trajectory) for p in pulls if p.seed in curves}
        observables = _observe(curves, trajectories)
    energies = {seed: pull.activation_energy for seed, pull in observables.items()}
    candidates = {pull.seed: pull.candidates for pull in pulls}
    around, errors = label_around_break(
        campaign, iteration, folder, model, reference.structure, trajectories, observables
    )
    judged = judge(
        [*history, energies],
        finished=all(pull.finished for pull in pulls),
        around_break=errors,
        stop=campaign.config.stop,
    )
    ends = judged.converged or iteration == campaign.config.iterations
    chosen, copies = list[str](), list[str]()
    if not ends:
        with timed(folder, "label"):
            chosen, copies = label_candidates(campaign, iteration, folder, candidates, observables)
    if not (folder / "metrics.json").is_file():
        with timed(folder, "evaluate"):
            _evaluate(campaign, folder, model, reference, observables, [*chosen, *around])
    _report(campaign, iteration, folder, data, pulls, len(chosen), judged)
    if ends:
        return _Step(data, energies, judged.converged)
    best_member = load_ensemble(model).metadata.best_member
    new = [*chosen, *copies, *around]
    lowest, _ = label_of(reference.structure)
    grown = grown_data(campaign, data, new, best_member, iteration + 1, lowest)
    return _Step(grown, energies, judged.converged)


def _train(campaign: Campaign, iteration: int, data: TrainingData, folder: Path) -> Path:
    if is_trained(folder):
        return folder / "ensemble.safetensors"
    with LabelStore(campaign.store_path) as store:
        frames = store.frames(data.keys)
    warm = campaign.config.train.start == "previous" and iteration > 0
    previous = campaign.folder / f"iter_{iteration - 1:03d}" / "ensemble.safetensors"
    return train_ensemble(
        frames,
        splits=data.splits,
        model=campaign.config.model,
        settings=campaign.config.train,
        seed=int(campaign.rng(iteration, "weights").integers(2**31)),
        folder=folder,
        cache=campaign.folder / "descriptors",
        method=campaign.method,
        workers=campaign.workers,
        progress=campaign.progress,
        start=previous if warm else None,
    )


def _simulate(campaign: Campaign, folder: Path, reference: Reference) -> list[PullResult]:
    config = campaign.config
    return simulate_pulls(
        model=model_file(folder, campaign.config.run.device),
        structure=reference.structure,
        elements=campaign.elements,
        pull=config.pull,
        select=config.select,
        timestep=config.timestep,
        forces=config.forces,
        folder=folder,
        run=config.run,
        progress=campaign.progress,
    )


def _evaluate(
    campaign: Campaign,
    folder: Path,
    model: Path,
    reference: Reference,
    observables: Mapping[int, Observables],
    labels: Sequence[str],
) -> None:
    with campaign.progress.stage(f"evaluate ({folder.name})", total=None):
        test_pulls = _test_pulls(reference)
        with LabelStore(campaign.store_path) as store:
            new = store.frames(labels)
        evaluation = evaluate(
            model=model,
            forces=campaign.config.forces,
            test_pulls=list(test_pulls.values()),
            new=new,
            pulls=observables,
            reference=_observe_reference(reference, test_pulls),
        )
    write_json(folder / "metrics.json", evaluation.to_json())


def _report(
    campaign: Campaign,
    iteration: int,
    folder: Path,
    data: TrainingData,
    pulls: Sequence[PullResult],
    n_chosen: int,
    convergence: Convergence,
) -> None:
    """Add the iteration to results.json, the plots and the table, unless it is there already."""
    results = read_results(campaign.folder)
    if len(results["iterations"]) > iteration:
        return
    record = iteration_record(
        iteration=iteration,
        n_labels=len(data.keys),
        n_left_out=data.left_out,
        evaluation=read_json(folder / "metrics.json"),
        selection=[pull.selection.to_json() for pull in pulls],
        n_chosen=n_chosen,
        convergence=convergence.to_json(),
        seconds=read_json(folder / "seconds.json"),
    )
    results["iterations"].append(record)
    write_results(campaign.folder, reference=results["reference"], iterations=results["iterations"])
    write_plots(campaign.folder)
    campaign.progress.message(f"{iteration_table(results)}\n\n{convergence_line(results)}")


def _observe(
    curves: Mapping[int, Path], trajectories: Mapping[int, Sequence[Atoms]]
) -> dict[int, Observables]:
    return {
        seed: observe(read_work(path), trajectories[seed]) for seed, path in sorted(curves.items())
    }


@contextmanager
def _open_campaign(
    config_path: Path, runs: Path, progress: Progress | None, retry: bool
) -> Iterator[Campaign]:
    config = load_config(config_path)
    structure = load_structure(config)
    elements = tuple(elements_of(structure))
    folder = (runs / config.name).resolve()
    with locked(folder), with_log(progress or SilentProgress(), folder / "log.txt") as logged:
        write_config(config, structure, config_path, folder)
        yield Campaign(config, folder, structure, elements, logged, retry)
