"""What each command of the command line does, once its arguments are read.

Stages are imported inside the commands: `alrare template` need not load torch.
"""

import argparse
import json
import math
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..config import Model, Pull, Select, Train, load_config
from ..errors import AlrareError
from ..progress import open_progress

if TYPE_CHECKING:
    from ..exploration.observables import Observables

Table = TypeVar("Table", bound=BaseModel)


def run(options: argparse.Namespace) -> int:
    """Run or resume a campaign."""
    config = load_config(options.config)
    from ..campaign.loop import run_campaign

    progress = open_progress(quiet=options.quiet)
    run_campaign(config, config_path=options.config, runs=options.runs, progress=progress)
    return 0


def reference(options: argparse.Namespace) -> int:
    """Make a campaign's reference."""
    config = load_config(options.config)
    from ..campaign.loop import run_reference_alone

    progress = open_progress(quiet=options.quiet)
    run_reference_alone(config, config_path=options.config, runs=options.runs, progress=progress)
    return 0


def status(options: argparse.Namespace) -> int:
    """Print where a campaign stands."""
    from ..campaign import report, results

    if options.json:
        print(json.dumps(results.read_results(options.run), indent=1))
    else:
        print(report.status(options.run))
    return 0


def report(options: argparse.Namespace) -> int:
    """Write report.html."""
    from ..campaign.report import write_report

    print(write_report(options.run))
    return 0


def train(options: argparse.Namespace) -> int:
    """Train an ensemble with a fresh random split for each member."""
    import numpy as np

    from ..frames import check_labels, read_frames
    from ..model.ensemble import model_path
    from ..training.dataset import (
        common_method,
        distinct_frames,
        random_split,
        split_off_isolated_atoms,
    )
    from ..training.ensemble import train_ensemble

    given = [frame for path in options.data for frame in read_frames(path)]
    check_labels(given)
    many, isolated = split_off_isolated_atoms(given)
    frames = distinct_frames(many)
    progress = open_progress(quiet=options.quiet)
    if len(frames) < len(many):
        progress.message(
            f"{len(many) - len(frames)} of {len(many)} frames repeat a configuration; each counts"
            " once"
        )
    model = _table(Model, options, ("members",))
    keys = ("recipe", "epochs", "batch_size", "learning_rate", "force_weight", "tensorboard")
    settings = _table(Train, options, keys)
    rng = np.random.default_rng(options.seed)
    fraction = settings.train_fraction
    path = train_ensemble(
        frames,
        splits=[
            random_split(len(frames), train_fraction=fraction, rng=rng)
            for _ in range(model.members)
        ],
        model=model,
        settings=settings,
        seed=options.seed,
        folder=options.output.absolute(),
        method=common_method(given),
        workers=options.workers,
        progress=progress,
        isolated=isolated or None,
        start=None if options.start is None else model_path(options.start, ".safetensors"),
    )
    print(path)
    return 0


def convert(options: argparse.Namespace) -> int:
    """Write the model files of a TorchANI model."""
    from ..model.torchani import build_model, convert_to

    for path in convert_to(
        build_model(options.model), options.output.absolute(), best_member=options.best_member - 1
    ):
        print(path)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the errors of an ensemble on labelled frames."""
    from dataclasses import asdict

    from ..frames import read_frames
    from ..model.accuracy import frame_errors
    from ..model.ensemble import model_path

    model = model_path(options.model, ".safetensors")
    errors = frame_errors(model, read_frames(options.data), forces=options.forces)
    if options.json:
        print(json.dumps(asdict(errors), indent=1))
        return 0
    print(f"frames                     {errors.n_frames}")
    print(f"MAE of relative energy     {_shown(errors.energy_mae, 1000, 'meV')}")
    print(f"MAE of force components    {_shown(errors.force_mae, 1000, 'meV/Å')}")
    print(
        f"rms error / energy_std     {_shown(errors.calibration, 1, '(above 1: over-confident)')}"
    )
    return 0


def label(options: argparse.Namespace) -> int:
    """Label frames; what was labelled before is taken from the store."""
    from ..frames import read_frames, write_frames
    from ..labelling.batch import label as label_frames
    from ..labelling.batch import require_labels
    from ..labelling.failures import describe_failures
    from ..labelling.store import LabelStore

    config = load_config(options.config)
    folder = (options.store or options.output.parent / "labels").absolute()
    store_path = folder / "labels.sqlite"
    done = label_frames(
        read_frames(options.input),
        labeller=config.labeller,
        store_path=store_path,
        folder=folder,
        workers=options.workers,
        progress=open_progress(quiet=options.quiet),
        origin=options.input.name,
    )
    with LabelStore(store_path) as store:
        write_frames(options.output, store.frames(done.keys))
    print(
        f"{options.output}: {len(done.keys)} labelled ({done.computed} computed now, {done.reused}"
        f" known before), {len(done.failed)} failed"
    )
    if done.failed:
        kinds = describe_failures([failed.kind for failed in done.failed])
        print(f"  {kinds}; inputs and outputs are kept in {folder / 'failed'}")
    for failed in done.failed:
        print(f"  {failed.key[:16]} {failed.kind}: {failed.reason}")
    require_labels(done, max_failed=config.labeller.max_failed, folder=folder)
    return 0


def select(options: argparse.Namespace) -> int:
    """Judge the frames of a trajectory as fix al_select does; print the counts."""
    from ..frames import read_frames, write_frames
    from ..model.ensemble import model_path
    from ..selection.criterion import select_frames

    shared = tuple(key for key in Select.model_fields if hasattr(options, key))
    settings = _table(Select, options, shared)
    frames = read_frames(options.trajectory)
    if options.cv_gap and not (options.atoms or all("cv" in f.info for f in frames)):
        raise AlrareError(
            f"--cv-gap: which distance? Give --atoms I J; the frames of {options.trajectory}"
            " hold no 'cv'"
        )
    result = select_frames(
        frames,
        model=model_path(options.model, ".safetensors"),
        select=settings,
        atoms=options.atoms and tuple(options.atoms),
        progress=open_progress(quiet=options.quiet),
    )
    if options.output is not None:
        write_frames(options.output, result.frames)
    if options.json:
        content = {"frames": len(frames), "verdicts": result.verdicts}
        content |= {"uncertainty": settings.uncertainty, "threshold": result.threshold}
        content |= {"mean": result.mean, "std": result.std}
        content |= {"steps": [frame.info["step"] for frame in result.frames]}
        print(json.dumps(content, indent=1))
        return 0
    unit = "meV" if settings.uncertainty == "energy" else "meV/Å"
    print(f"{'frames':<24} {len(frames)}")
    for verdict, count in result.verdicts.items():
        print(f"  {verdict.replace('_', ' '):<22} {count}")
    print(f"{'threshold, last frame':<24} {_shown(result.threshold, 1000, unit)}")
    print(f"{'mean ± std':<24} {result.mean * 1000:.2f} ± {result.std * 1000:.2f} {unit}")
    return 0


def smd(options: argparse.Namespace) -> int:
    """Pull a molecule, once for each seed; print and write what the pulls show."""
    from ..exploration.smd import observe_pulls, pulls_table, summarize, write_pulls
    from ..structure import read_structure

    keys = ("atoms", "rate", "spring", "steps", "relax_steps", "temperature", "thermostat", "seeds")
    if options.seeds is not None:
        options.seeds = read_seeds(options.seeds)
    pull = _table(Pull, options, keys)
    structure = read_structure(options.structure, pulled=pull.atoms)
    against = None if options.against is None else observe_pulls(options.against)
    make = _pull_with_labeller if options.source.suffix == ".toml" else _pull_with_model
    summary = summarize(make(options, structure, pull), against)
    write_pulls(options.output, summary)
    print(json.dumps(summary, indent=1) if options.json else pulls_table(summary))
    return 0


def check(options: argparse.Namespace) -> int:
    """Print what is installed and what is broken; status 1 if something essential is."""
    from .check import as_json, as_text, check_installation, is_broken

    if options.config is None:
        findings = check_installation()
    else:
        config = load_config(options.config)
        findings = check_installation(
            lmp=config.run.lmp,
            labeller=config.labeller.program,
            calculator=config.labeller.calculator,
        )
    print(as_json(findings) if options.json else as_text(findings))
    return 1 if is_broken(findings) else 0


def validate(options: argparse.Namespace) -> int:
    """Print a summary of a campaign that could be run."""
    from ..labelling.method import method_of
    from ..structure import elements_of, load_structure

    config = load_config(options.config)
    atoms = load_structure(config)
    elements = elements_of(atoms)
    method = method_of(config.labeller, elements)
    first, second = (index - 1 for index in config.pull.atoms)
    start = math.dist(atoms.positions[first], atoms.positions[second])
    end = start + config.pull.rate * config.pull.steps * config.timestep * 1e-3
    initial = config.initial.steps // config.initial.stride
    select = config.select
    new = select.max_per_iteration * (1 + config.augment.copies) + select.around_break
    named = ", ".join(
        f"{key} {value}"
        for key, value in method.description.items()
        if not isinstance(value, list | dict)
    )
    print(
        f"{options.config}: valid\n"
        f"  structure   {atoms.symbols}, {len(atoms)} atoms, elements {' '.join(elements)}\n"
        f"  pull        atoms {first + 1} ({atoms.symbols[first]}) and {second + 1}"
        f" ({atoms.symbols[second]}) from {start:.2f} Å to about {end:.2f} Å,"
        f" {config.pull.steps} steps, seeds {' '.join(map(str, config.pull.seeds))}\n"
        f"  labeller    {named}\n"
        f"  ensemble    {config.model.members} members, {config.train.epochs} epochs,"
        f" recipe {config.train.recipe}\n"
        f"  labels      {initial} initial, then up to {new} in each of {config.iterations}"
        " iterations"
    )
    return 0


def template(_: argparse.Namespace) -> int:
    """Print a commented al.toml."""
    from .template import template as text

    print(text(), end="")
    return 0


def schema(_: argparse.Namespace) -> int:
    """Print the JSON schema of al.toml."""
    from .template import schema as text

    print(text())
    return 0


def _pull_with_model(
    options: argparse.Namespace, structure: Any, pull: Pull
) -> "dict[int, Observables]":
    from ..exploration.smd import pull_with_model

    return pull_with_model(
        model=options.source,
        structure=structure,
        pull=pull,
        timestep=options.timestep,
        forces=options.forces,
        folder=options.output.absolute(),
        lmp=options.lmp,
        ranks=options.np,
        workers=options.workers,
        device=options.device,
        progress=open_progress(quiet=options.quiet),
    )


def _pull_with_labeller(
    options: argparse.Namespace, structure: Any, pull: Pull
) -> "dict[int, Observables]":
    from ..exploration.smd import pull_with_labeller

    return pull_with_labeller(
        labeller=load_config(options.source).labeller,
        structure=structure,
        pull=pull,
        timestep=options.timestep,
        folder=options.output.absolute(),
        workers=options.workers,
        progress=open_progress(quiet=options.quiet),
    )


def _table(table: type[Table], options: argparse.Namespace, keys: tuple[str, ...]) -> Table:
    """Make a table of the configuration from the options that were given."""
    given = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    try:
        return table.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
        message = str(first["msg"]).removeprefix("Value error, ")
        where = f"--{name} {first['input']}: " if first["loc"] else ""
        raise AlrareError(f"{where}{message[0].lower()}{message[1:]}") from error


def read_seeds(text: str) -> list[int]:
    """Read seeds as a person writes them: `1-8` or `1,2,5`."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            low, _, high = part.partition("-")
            seeds += range(int(low), int(high or low) + 1)
    except ValueError as error:
        raise AlrareError(f"--seeds {text}: expected numbers such as 1-8 or 1,2,5") from error
    return seeds


def _shown(value: float | None, factor: float, unit: str) -> str:
    return "-" if value is None else f"{value * factor:.2f} {unit}"
