"""The commands of the command line, as functions of their parsed arguments.

Each command imports what it needs, so that `alrare template` does not load torch.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..config import Config, Model, Pull, Run, Select, Train, load_config, load_labelling
from ..errors import AlrareError
from ..progress import open_progress
from .options import option_name, read_table

if TYPE_CHECKING:
    from ase import Atoms

MODEL_KEYS = tuple(Model.model_fields)
TRAIN_KEYS = (
    "recipe",
    "epochs",
    "min_steps",
    "batch_size",
    "learning_rate",
    "force_weight",
    "energy_share",
    "stress_weight",
    "train_fraction",
    "device",
    "tensorboard",
)
SELECT_KEYS = (
    "uncertainty",
    "threshold",
    "sigma",
    "screening_steps",
    "relative",
    "relative_floor",
    "energy_gap",
    "cv_gap",
    "gap_steps",
    "upper",
    "min_distance",
    "max_per_run",
)
PULL_KEYS = (
    "atoms",
    "spring",
    "rate",
    "relax_steps",
    "steps",
    "temperature",
    "thermostat",
    "damping_time",
    "plus_steps",
    "seeds",
)
RUN_KEYS = ("mpi_ranks", "device", "lmp", "workers")
"""Keys of al.toml that are options of `train`, `select` and `smd`."""


def run(options: argparse.Namespace) -> int:
    """Run or resume a campaign."""
    load_config(options.config)  # report a mistake in it before torch is imported
    from ..campaign.loop import run_campaign

    progress = open_progress(quiet=options.quiet)
    run_campaign(options.config, runs=options.runs, progress=progress, retry=options.retry)
    return 0


def reference(options: argparse.Namespace) -> int:
    """Make a campaign's reference."""
    load_config(options.config)
    from ..campaign.loop import run_reference_alone

    progress = open_progress(quiet=options.quiet)
    run_reference_alone(options.config, runs=options.runs, progress=progress, retry=options.retry)
    return 0


def status(options: argparse.Namespace) -> int:
    """Print how far a campaign is."""
    from ..campaign import report, results
    from ..execution.jobs import jobs_text

    if options.json:
        print(json.dumps(results.read_results(options.run), indent=1))
    else:
        print(report.status(options.run, width=shutil.get_terminal_size((126, 24)).columns))
        jobs = jobs_text(options.run)
        if jobs:
            print(f"\n{jobs}")
    return 0


def report(options: argparse.Namespace) -> int:
    """Write report.html."""
    from ..campaign.report import write_report

    print(write_report(options.run))
    return 0


def train(options: argparse.Namespace) -> int:
    """Train an ensemble, each member with a random split of its own."""
    from ..model.ensemble import model_path
    from ..training.ensemble import train as train_on

    model = read_table(Model, options, MODEL_KEYS)
    path = train_on(
        [frame for path in options.data for frame in _read_labelled(path, options)],
        folder=options.output.absolute(),
        model=model,
        settings=read_table(Train, options, TRAIN_KEYS, family=model.family),
        seed=options.seed,
        workers=options.workers,
        progress=open_progress(quiet=options.quiet),
        start=None if options.start is None else model_path(options.start, ".safetensors"),
        any_units=options.any_units,
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

    from ..label_keys import unused_virials
    from ..model.accuracy import check_frames, compare
    from ..model.assessment import assess, plot_assessment
    from ..model.calibration import calibrate
    from ..model.ensemble import load_ensemble, model_path
    from ..training.plausibility import check_plausible
    from ..training.stress import check_stress
    from .accuracy_table import accuracy_table

    if options.calibrate and options.forces == "best":
        raise AlrareError(
            "--calibrate is of the mean of the members; the spread says nothing of one: leave"
            " --forces best out"
        )
    model = model_path(options.model, ".safetensors")
    frames = _read_labelled(options.data, options)
    checked = check_frames(model, frames)
    if checked.several and not options.any_units:
        check_plausible(checked.several)
        check_stress(checked.several)
    if virials := unused_virials(checked.several):
        print(virials, file=sys.stderr)
    if options.calibrate:
        kept = calibrate(model, checked.several)
        print(
            f"kept in {model}: its spread is an error times {kept.energy:.3g} (energy) and"
            f" {kept.force:.3g} (forces), by {kept.n_frames} frames",
            file=sys.stderr,
        )
    comparison = compare(model, checked.several, forces=forces_of(options))
    errors = checked.errors_of(comparison, load_ensemble(model).metadata.calibration)
    detail = assess(comparison, checked.several) if checked.several else None
    if options.plot is not None and checked.several:
        plot_assessment(options.plot, comparison, checked.several)
    if options.json:
        content = asdict(errors) | {"detail": None if detail is None else asdict(detail)}
        print(json.dumps(content, indent=1))
        return 0
    print("\n".join(accuracy_table(errors, detail)))
    return 0


def label(options: argparse.Namespace) -> int:
    """Label frames; labels that the store holds already are not computed again."""
    from ..frames import read_frames, write_frames
    from ..labelling.batch import label as label_frames
    from ..labelling.batch import require_labels
    from ..labelling.failures import describe_failures
    from ..labelling.store import STORE_FILE, LabelStore

    _refuse_same_file(options.input, options.output)
    config = load_labelling(options.config)
    folder = (options.store or options.output.parent / "labels").absolute()
    done = label_frames(
        read_frames(options.input),
        labeller=config.labeller,
        folder=folder,
        workers=options.workers,
        progress=open_progress(quiet=options.quiet),
        origin=options.input.name,
        retry=options.retry,
        charge=config.charge,
        multiplicity=config.multiplicity,
    )
    with LabelStore(folder / STORE_FILE) as store:
        write_frames(options.output, store.frames(done.keys))
    print(
        f"{options.output}: {len(done.keys)} labelled ({done.computed} computed now, {done.reused}"
        f" known before), {len(done.failed)} failed"
    )
    if done.failed:
        kinds = describe_failures([failed.kind for failed in done.failed])
        print(
            f"  {kinds}; inputs and outputs are kept in {folder / 'failed'}; the same command tries"
            " again what may have been cured, with --retry all of them"
        )
    for failed in done.failed:
        print(f"  {failed.key[:16]} {failed.kind}: {failed.reason}")
    require_labels(done, max_failed=config.labeller.max_failed, folder=folder)
    return 0


def select(options: argparse.Namespace) -> int:
    """Judge the frames of a trajectory as fix al_select does; print the counts."""
    from ..frames import read_frames, write_frames
    from ..selection.criterion import select_frames
    from .accuracy_table import shown

    if options.output is not None:
        _refuse_same_file(options.trajectory, options.output)
    settings = read_table(Select, options, SELECT_KEYS)
    frames = read_frames(options.trajectory)
    if options.cv_gap and not (options.atoms or all("cv" in f.info for f in frames)):
        raise AlrareError(
            f"--cv-gap: which distance? Give --atoms I J; the frames of {options.trajectory}"
            " hold no 'cv'"
        )
    result = select_frames(
        frames,
        model=options.model,
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
    print(f"{'threshold, last frame':<24} {shown(result.threshold, 1000, unit)}")
    print(f"{'mean ± std':<24} {result.mean * 1000:.2f} ± {result.std * 1000:.2f} {unit}")
    if result.verdicts["screening"] == len(frames):
        print(
            f"No frame was judged: the first {settings.screening_steps} only give the adaptive"
            " threshold. Give fewer --screening-steps, or a --threshold."
        )
    return 0


def smd(options: argparse.Namespace) -> int:
    """Pull a molecule once per seed; print and write the observables of the pulls."""
    from ..exploration import smd as pulls
    from ..exploration.kept_settings import check_comparable
    from ..structure import read_structure

    pull = read_table(Pull, options, PULL_KEYS)
    run = read_table(Run, options, RUN_KEYS)
    config = load_config(options.source) if options.source.suffix == ".toml" else None
    structure = read_structure(
        options.structure,
        pulled=pull.atoms,
        charge=None if config is None else config.charge,
        multiplicity=None if config is None else config.multiplicity,
    )
    progress = open_progress(quiet=options.quiet)
    against = None
    if options.against is not None:
        against = pulls.observe_pulls(options.against, plus_steps=pull.plus_steps)
        note = check_comparable(
            options.against, structure=structure, pull=pull, timestep=options.timestep
        )
        if note:
            progress.message(note)
    folder = options.output.absolute()
    if config is not None:
        _refuse_options_of_models(options)
        pulled = pulls.pull_with_labeller(
            labeller=config.labeller,
            structure=structure,
            pull=pull,
            timestep=options.timestep,
            folder=folder,
            workers=run.workers,
            lmp=run.lmp,
            progress=progress,
        )
    else:
        pulled = pulls.pull_with_model(
            model=options.source,
            structure=structure,
            pull=pull,
            timestep=options.timestep,
            forces=forces_of(options),
            folder=folder,
            run=run,
            progress=progress,
        )
    summary = pulls.summarize(pulled, against)
    pulls.write_pulls(options.output, summary)
    print(json.dumps(summary, indent=1) if options.json else pulls.pulls_table(summary))
    return 0


def _read_labelled(path: Path, options: argparse.Namespace) -> "list[Atoms]":
    from ..frames import read_frames

    return read_frames(
        path,
        energy_key=options.energy_key,
        forces_key=options.forces_key,
        stress_key=options.stress_key,
    )


def _refuse_same_file(read: Path, written: Path) -> None:
    if read.resolve() == written.resolve():
        raise AlrareError(
            f"{written}: is both read and written, so its frames would be lost; give another name"
            " for the output"
        )


def _refuse_options_of_models(options: argparse.Namespace) -> None:
    for key in ("mpi_ranks", "device", "forces"):
        if getattr(options, key) is not None:
            raise AlrareError(
                f"{option_name(key)} is for pulls by a model; {options.source} pulls with its"
                " labeller, which would ignore it: remove it"
            )


def check(options: argparse.Namespace) -> int:
    """Print the state of the installation; return 1 if something essential is broken."""
    from ..execution.choose import works_for_another
    from .check import as_json, as_text, check_elsewhere, check_for, check_installation, is_broken

    if options.config is None:
        findings = check_installation()
    else:
        config = load_config(options.config)
        if works_for_another(config):
            return 0
        findings = check_for(config) + check_elsewhere(config)
    print(as_json(findings) if options.json else as_text(findings))
    return 1 if is_broken(findings) else 0


def watch(options: argparse.Namespace) -> int:
    """Serve the report of a campaign to this machine until Ctrl-C."""
    from ..campaign.page.watch import WatchServer

    with WatchServer(options.run, options.port) as server:
        print(f"{server.url}  shows {options.run} and follows it; Ctrl-C ends this", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Print the state of the installation, and run a small campaign unless that is broken."""
    from .check import as_text, check_installation, is_broken
    from .doctor import try_campaign

    findings = check_installation()
    print(as_text(findings), flush=True)
    if is_broken(findings):
        print("No campaign was tried: mend what is broken first.")
        return 1
    print("Trying a campaign on ethane, too small for its numbers to mean anything.", flush=True)
    print(try_campaign(open_progress(quiet=options.quiet), options.keep))
    return 0


def validate(options: argparse.Namespace) -> int:
    """Check a configuration and its molecule; print a summary of the campaign."""
    from ..campaign.summary import campaign_summary

    config = load_config(options.config)
    print(f"{options.config}: valid\n{campaign_summary(config)}")
    return 0


def template(options: argparse.Namespace) -> int:
    """Print a commented al.toml."""
    from .template import template as text

    print(text(options.protocol), end="")
    return 0


def schema(_: argparse.Namespace) -> int:
    """Print the JSON schema of al.toml."""
    from .template import schema as text

    print(text())
    return 0


def forces_of(options: argparse.Namespace) -> Literal["best", "mean"]:
    """Return the value of --forces, by default that of al.toml."""
    forces: Literal["best", "mean"] = options.forces or Config.model_fields["forces"].default
    return forces
