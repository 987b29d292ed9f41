"""What the figures share: their options, the campaigns they run, and where results are kept.

    RUNS/gfn2/reference/        the labeller alone: 500 K MD and pulls, made once for all figures
    RUNS/gfn2/labeller/         its further pulls: other chains, other rates
    RUNS/gfn2/fast/NAME/        the run folder of a campaign; NAME.toml beside it is its al.toml
    RUNS/gfn2/fast/models/      further pulls by a model, by the hash of its file
    RUNS/gfn2/fast/fig2.png     each figure, with .svg, and its table, .txt

What is finished is never repeated, and what was stopped goes on.
"""

import argparse
import hashlib
import json
import shlex
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alrare.campaign import (
    RELAXED_FILE,
    of_system,
    read_results,
    run_campaign,
    run_reference_alone,
)
from alrare.config import Config, Pull, parse_config, read_numbers
from alrare.errors import AlrareError, UnstableModelError
from alrare.exploration import (
    WORK_FILE,
    Observables,
    WorkCurve,
    observe_pulls,
    pull_with_labeller,
    pull_with_model,
    read_work,
)
from alrare.frames import read_frames
from alrare.model import load_ensemble, model_path
from alrare.progress import Progress, open_progress
from ase import Atoms

HERE = Path(__file__).resolve().parent
LABELLERS: dict[str, dict[str, Any]] = {
    "gfn2": {"program": "tblite", "method": "GFN2-xTB"},
    "dftb3": {"program": "dftb+", "method": "DFTB3/3OB"},
}
Content = Mapping[str, Any]


@dataclass(frozen=True)
class Pulled:
    """Finished pulls of one potential."""

    folder: Path
    """Holds `pull_SEED`."""
    observables: dict[int, Observables]
    """By seed."""

    @property
    def curves(self) -> list[WorkCurve]:
        """The work curves, in the order of the seeds."""
        return [read_work(self.folder / f"pull_{seed}" / WORK_FILE) for seed in self.observables]


@dataclass(frozen=True)
class Study:
    """One labeller and one recipe, and what is made with them."""

    root: Path
    """Holds what the labeller alone makes."""
    folder: Path
    """Holds what depends on the training recipe too."""
    base: Content
    """al.toml of this folder."""
    options: Content
    """What the command line asks for, over the base."""
    progress: Progress

    @property
    def settings(self) -> Config:
        """The configuration without the changes of any figure."""
        content = merged(self.base, self.options)
        return parse_config(content, folder=HERE, source="examples/paper/al.toml")

    @property
    def pull(self) -> Pull:
        """The `[pull]` table of these settings."""
        pull = self.settings.pull
        assert pull is not None
        return pull

    def reference(self) -> Path:
        """Make what the labeller alone says; return its run folder."""
        path = self._write(self.root / "reference.toml", {})
        return run_reference_alone(path, runs=self.root, progress=self.progress)

    def relaxed(self) -> Atoms:
        """Return the molecule where all pulls start, relaxed by the labeller."""
        [structure] = read_frames(self.reference() / "reference" / RELAXED_FILE)
        return structure

    def campaign(self, name: str, changes: Content) -> Path:
        """Run a campaign with changes to the base and the options; return its run folder."""
        path = self._write(self.folder / f"{name}.toml", changes)
        return run_campaign(path, runs=self.folder, progress=self.progress)

    def learn(self, split: str, members: int) -> Path:
        """Run the paper's loop with a split strategy and a size of the ensemble (§2.3.6)."""
        changes = {
            "reference": str(self.reference()),
            "model": {"members": members},
            "train": {"split": split},
        }
        return self.campaign(f"{split}-{members}", changes)

    def model(self, given: Path | None) -> Path:
        """Return the model that was given, else the last of the paper's best loop.

        Raises
        ------
        ModelError
            If the given one cannot be read.
        """
        if given is not None:
            load_ensemble(model_path(given, ".safetensors"))
            return given
        run = self.learn("inherited", 7)
        return iteration_folder(run, iterations_of(run)[-1])

    def pull_with_labeller(self, name: str, structure: Atoms, pull: Pull) -> Pulled:
        """Pull a molecule with the labeller; the name makes a folder."""
        folder = self.root / "labeller" / name
        observables = pull_with_labeller(
            labeller=self.settings.labeller,
            structure=structure,
            pull=pull,
            timestep=self.settings.timestep,
            folder=folder,
            workers=self.settings.run.workers,
            progress=self.progress,
        )
        return Pulled(folder, observables)

    def pull_with_model(self, model: Path, name: str, structure: Atoms, pull: Pull) -> Pulled:
        """Pull a molecule with a model (a file or its folder); the name makes a folder.

        A molecule that blows up at rest under every seed gives no pull: that is a result too.
        """
        settings = self.settings
        identity = hashlib.sha256(model_path(model, ".safetensors").read_bytes()).hexdigest()[:12]
        folder = self.folder / "models" / identity / name
        try:
            observables = pull_with_model(
                model=model,
                structure=structure,
                pull=pull,
                timestep=settings.timestep,
                forces=settings.forces,
                folder=folder,
                run=settings.run,
                progress=self.progress,
            )
        except UnstableModelError as error:
            self.progress.message(f"{name}: a result of its own: {error}")
            observables = {}
        return Pulled(folder, observables)

    def _write(self, path: Path, changes: Content) -> Path:
        """Write the al.toml of a campaign, named as the file is."""
        content = merged(self.base, self.options, changes, {"name": path.stem})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(toml_text(content), encoding="utf-8")
        return path


def iterations_of(run: Path) -> list[dict[str, Any]]:
    """Return the iterations in the results.json of a run folder."""
    rows: list[dict[str, Any]] = of_system(read_results(run))["iterations"]
    return rows


def iteration_folder(run: Path, row: Content) -> Path:
    """Return the folder of an iteration of results.json."""
    return run / f"iter_{row['iteration']:03d}"


def iteration_pulls(run: Path, row: Content) -> Pulled:
    """Return the pulls by the model of an iteration of results.json."""
    folder = iteration_folder(run, row)
    return Pulled(folder, observe_pulls(folder, [pull["seed"] for pull in row["runs"]]))


def reference_pulls(run: Path) -> Pulled:
    """Return the labeller's own pulls in a run folder."""
    folder = run / "reference"
    return Pulled(folder, observe_pulls(folder))


def merged(*tables: Content) -> dict[str, Any]:
    """Put tables over each other, the last on top; tables inside them are merged as well.

    Examples
    --------
    >>> merged({"pull": {"rate": 1.0, "spring": 10.0}}, {"pull": {"rate": 2.0}})
    {'pull': {'rate': 2.0, 'spring': 10.0}}
    """
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            old = result.get(key)
            if isinstance(old, Mapping) and isinstance(value, Mapping):
                value = merged(old, value)
            result[key] = value
    return result


def toml_text(content: Content) -> str:
    """Write an al.toml: its keys, then its tables.

    Examples
    --------
    >>> print(toml_text({"name": "a", "model": {"hidden": {"H": [8, 4]}}}), end="")
    name = "a"
    <BLANKLINE>
    [model]
    hidden = { H = [8, 4] }
    """
    lines = [f"{key} = {_value(value)}" for key, value in content.items() if not _is_table(value)]
    for name, table in content.items():
        if _is_table(table):
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)  # strings, numbers, booleans, lists: the same in TOML


def option_parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that all figures have; `text` is the script's docstring."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--labeller",
        choices=LABELLERS,
        default="gfn2",
        help="GFN2-xTB (default), or the paper's DFTB3/3OB, which needs dftb+",
    )
    parser.add_argument(
        "--slater-koster", type=Path, metavar="DIR", help="dftb3: folder of the 3OB .skf files"
    )
    parser.add_argument(
        "--recipe",
        choices=("fast", "paper"),
        default="fast",
        help="training: fast (default), or the paper's 300 epochs, which take hours",
    )
    parser.add_argument(
        "--seeds", type=read_range, metavar="1-3", help="pulls, one per seed: 1-3, 1,5"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="of each campaign (10)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/paper"), metavar="DIR", help="(runs/paper)"
    )
    parser.add_argument(
        "--trial", action="store_true", help="ethane in a minute, to see that all of it runs"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="tasks at a time (one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def read_range(text: str) -> list[int]:
    """Read `1-3` or `1,5` for argparse."""
    try:
        return read_numbers(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected 1-3 or 1,5 or alike") from error


def open_study(options: argparse.Namespace) -> Study:
    """Return what the options ask for.

    Raises
    ------
    AlrareError
        If DFTB3 is asked for without its parameter files.
    """
    labeller = dict(LABELLERS[options.labeller])
    if options.labeller == "dftb3":
        if options.slater_koster is None:
            raise AlrareError(
                "--labeller dftb3: needs --slater-koster DIR, the folder of the 3OB-3-1 .skf files"
                " (docs/labellers.md says where they come from)"
            )
        labeller["slater_koster"] = str(options.slater_koster.expanduser().resolve())
    asked: dict[str, Any] = {"labeller": labeller, "train": {"recipe": options.recipe}}
    if options.iterations is not None:
        asked["iterations"] = options.iterations
    if options.seeds is not None:
        asked["pull"] = {"seeds": options.seeds}
    if options.workers is not None:
        asked["run"] = {"workers": options.workers}
    trial = base_content("trial.toml") if options.trial else {}
    root = options.runs.resolve() / ("trial-" * options.trial + options.labeller)
    return Study(
        root=root,
        folder=root / options.recipe,
        base=base_content("al.toml"),
        options=merged(trial, asked),
        progress=open_progress(quiet=options.quiet),
    )


def base_content(name: str) -> dict[str, Any]:
    """Read an al.toml beside the scripts, or by its path from there."""
    content = tomllib.loads((HERE / name).read_text())
    structure = (HERE / name).parent / content["structure"]
    return content | {"structure": str(structure.resolve())}


def run_figure(
    draw: Callable[[Study, argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    *,
    takes: Mapping[str, str],
    arguments: Sequence[str] | None = None,
) -> int:
    """Make one figure; return the exit status, as `alrare` does.

    Parameters
    ----------
    draw : callable
        Makes it.
    parser : ArgumentParser
        Of `option_parser`, with the figure's own options.
    takes : mapping from recipe to str
        How long it takes with the default options.
    arguments : sequence of str, optional
        Those of the process by default.
    """
    options = parser.parse_args(arguments)
    long = "a minute" if options.trial else takes[options.recipe]
    try:
        study = open_study(options)
        study.progress.message(
            f"{parser.prog}: about {long} on two cores, less where {options.runs} holds parts of"
            " it; stop it at any time, the same command goes on"
        )
        draw(study, options)
    except AlrareError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = shlex.join(["python", *(sys.argv if arguments is None else arguments)])
        print(f"\n{parser.prog}: stopped. Go on with: {again}", file=sys.stderr)
        return 130
    return 0
