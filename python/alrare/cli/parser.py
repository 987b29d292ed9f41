"""The command line's parser: commands such as `alrare run al.toml`, and their options.

The commands themselves are in `commands`. Options that are keys of al.toml are made from its
fields.
"""

import argparse
import io
import math
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..background import end_process
from ..config import Config, Model, Pull, Run, Select, Train
from ..errors import AlrareError
from ..processes import Stopped, end_signals_as_ctrl_c
from . import commands, exploring, interchange
from .options import add_options

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        Exit status: 0 on success, 1 with a message on standard error, 2 for wrong usage, 130
        after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal lacks is no error
            stream.reconfigure(errors="replace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    command: Command = options.command
    try:
        with end_signals_as_ctrl_c():
            return command(options)
    except AlrareError as error:
        print(f"alrare: {error}", file=sys.stderr)
        return end_process(1)
    except KeyboardInterrupt as stop:
        again = shlex.join(["alrare", *given])
        print(
            f"\nalrare: stopped. Nothing finished is lost; go on with: {again}"
            if options.resumes
            else "\nalrare: stopped.",
            file=sys.stderr,
        )
        return end_process(128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT))
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows the usage\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = _Parser(
        prog="alrare",
        description="Active learning of neural-network potentials for rare events, inside LAMMPS.",
        epilog="`alrare COMMAND --help` shows an example of each command.",
    )
    top.add_argument("--version", action="version", version=f"alrare {__version__}")
    subcommands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: Command, summary: str, example: str, *, resumes: bool = False
    ) -> argparse.ArgumentParser:
        one = subcommands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(command=command, resumes=resumes)
        return one

    _add_campaign(add)
    _add_tools(add)
    _add_configuration(add)
    return top


def _add_campaign(add: Callable[..., argparse.ArgumentParser]) -> None:
    for name, command, summary in (
        ("run", commands.run, "run a whole campaign, or continue one that was interrupted"),
        (
            "reference",
            commands.reference,
            "make only the reference of a campaign: MD and pulls driven by the labeller",
        ),
    ):
        one = add(name, command, summary, f"alrare {name} examples/hexane/al.toml", resumes=True)
        _config_argument(one)
        one.add_argument(
            "--runs",
            type=Path,
            default=Path("runs"),
            metavar="DIR",
            help="folder of all campaigns; this one's is DIR/NAME (default: ./runs)",
        )
        _retry_option(one)
        _quiet_option(one)

    one = add("status", commands.status, "print how far a campaign is", "alrare status runs/hexane")
    one.add_argument("run", type=Path, metavar="RUN", help="run folder")
    _json_option(one, "print results.json")

    one = add(
        "report",
        commands.report,
        "write report.html: an interactive page that needs no other file and no network",
        "alrare report runs/hexane",
    )
    one.add_argument("run", type=Path, metavar="RUN", help="run folder")

    one = add(
        "watch",
        commands.watch,
        "serve that page to this machine while the campaign runs, and follow it; writes nothing",
        "alrare watch runs/hexane",
    )
    one.add_argument("run", type=Path, metavar="RUN", help="run folder")
    one.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of 127.0.0.1 (default: a free one)"
    )


def _add_tools(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add(
        "train",
        commands.train,
        "train an ensemble on labelled configurations",
        "alrare train hexane_md.extxyz -o model --members 7 --recipe fast --epochs 60",
        resumes=True,
    )
    one.add_argument(
        "data",
        type=Path,
        nargs="+",
        metavar="DATA",
        help="labelled extended XYZ; frames of a single atom give the isolated-atom energies",
    )
    _label_key_options(one)
    one.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="model folder")
    add_options(one, Model, commands.MODEL_KEYS)
    add_options(one, Train, commands.TRAIN_KEYS)
    one.add_argument(
        "--seed",
        type=_not_negative,
        default=1,
        metavar="S",
        help="seed of splits and weights (default: 1)",
    )
    one.add_argument(
        "--start",
        type=Path,
        metavar="MODEL",
        help="model whose weights the members start from (default: random weights)",
    )
    _workers_option(one)
    _quiet_option(one)

    one = add(
        "convert",
        commands.convert,
        "write a TorchANI model as the model files of alrare",
        "alrare convert ANI2x -o ani2x\n  alrare convert my_models.py:water_model -o water",
    )
    one.add_argument(
        "model",
        metavar="MODEL",
        help="a name in torchani.models, or MODULE:FUNCTION or FILE.py:FUNCTION that returns one",
    )
    one.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="model folder")
    one.add_argument(
        "--best-member",
        type=int,
        default=1,
        metavar="K",
        help="member, from 1, that `forces best` will use, since the model names none (default: 1)",
    )

    one = add(
        "evaluate",
        commands.evaluate,
        "compare an ensemble with labelled configurations",
        "alrare evaluate runs/hexane/iter_004 runs/hexane/reference/pull_1/trajectory.extxyz",
    )
    one.add_argument(
        "model", type=Path, metavar="MODEL", help="ensemble.safetensors, or its folder"
    )
    one.add_argument("data", type=Path, metavar="DATA", help="labelled extended XYZ")
    _label_key_options(one)
    _forces_option(one, "whose energies and forces are compared")
    one.add_argument("--plot", type=Path, metavar="PNG", help="draw model, labels and spread")
    one.add_argument("--calibrate", action="store_true", help="keep error/spread on DATA in MODEL")
    _json_option(one, "print one JSON object")

    one = add(
        "label",
        commands.label,
        "label configurations with the labeller that a file names",
        "alrare label frames.extxyz labelled.extxyz --config examples/hexane/al.toml",
        resumes=True,
    )
    one.add_argument("input", type=Path, metavar="IN", help="any structure file that ASE reads")
    one.add_argument("output", type=Path, metavar="OUT", help="labelled extended XYZ to write")
    one.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="TOML",
        help="al.toml, or only its [labeller]",
    )
    one.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="folder that stores the labels; none is computed twice (default: labels/ beside OUT)",
    )
    _retry_option(one)
    _workers_option(one)
    _quiet_option(one)
    _add_select(add)
    _add_smd(add)
    one = exploring.add_explore(add)
    _json_option(one, "print one JSON object")
    _quiet_option(one)
    _forces_option(interchange.add_export(add), "whose forces move the atoms")
    interchange.add_data(add)


def _add_select(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add(
        "select",
        commands.select,
        "select the frames of a trajectory that deserve a label, as fix al_select does in a run",
        "alrare select pull.extxyz runs/hexane/iter_004 -o candidates.extxyz --atoms 1 6",
    )
    one.add_argument("trajectory", type=Path, metavar="TRAJ", help="any file that ASE reads")
    one.add_argument(
        "model", type=Path, metavar="MODEL", help="ensemble.safetensors, or its folder"
    )
    one.add_argument("-o", "--output", type=Path, metavar="OUT", help="extended XYZ to write")
    one.add_argument(
        "--atoms",
        type=int,
        nargs=2,
        metavar=("I", "J"),
        help="the two atoms, from 1, whose distance is the collective variable",
    )
    add_options(
        one, Select, commands.SELECT_KEYS, names={"max_per_run": ("--max-per-run", "--max")}
    )
    _json_option(one, "print one JSON object")
    _quiet_option(one)


def _add_smd(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add(
        "smd",
        commands.smd,
        "pull a molecule with a model, or with the labeller of an al.toml",
        "alrare smd runs/hexane/iter_004 heptane.xyz --atoms 1 7 --seeds 1-4 -o heptane",
        resumes=True,
    )
    one.add_argument(
        "source", type=Path, metavar="MODEL", help="model folder or file; or al.toml: its labeller"
    )
    one.add_argument("structure", type=Path, metavar="STRUCTURE", help="any file ASE reads")
    one.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the pulls"
    )
    add_options(one, Pull, commands.PULL_KEYS)
    one.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare seed by seed with the pulls in DIR (of smd, an iteration or a reference)",
    )
    one.add_argument(
        "--timestep",
        type=_positive,
        default=0.5,
        metavar="X",
        help="MD time step in fs (default: 0.5)",
    )
    _forces_option(one, "whose forces drive the pull")
    add_options(one, Run, commands.RUN_KEYS, names={"mpi_ranks": ("--mpi-ranks", "--np")})
    _json_option(one, "print one JSON object")
    _quiet_option(one)


def _add_configuration(add: Callable[..., argparse.ArgumentParser]) -> None:
    one = add(
        "check",
        commands.check,
        "test whether LAMMPS, the plugin and the labellers are there and fit together",
        "alrare check al.toml",
    )
    one.add_argument(
        "config",
        type=Path,
        nargs="?",
        metavar="AL.TOML",
        help="check the `lmp` and labeller of this file, and with `[run] executor` also where its"
        " tasks run",
    )
    _json_option(one, "print one JSON object")

    one = add(
        "doctor",
        commands.doctor,
        "as `check`, and then run a small campaign on ethane: about a minute",
        "alrare doctor",
    )
    one.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the campaign in this folder (default: it goes away unless something fails)",
    )
    _quiet_option(one)

    one = add(
        "validate",
        commands.validate,
        "check a configuration and its structure without running anything",
        "alrare validate al.toml",
    )
    _config_argument(one)
    one = add(
        "template",
        commands.template,
        "print an al.toml that explains every key",
        "alrare template > al.toml\n  alrare template --protocol paper > paper.toml",
    )
    one.add_argument(
        "--protocol",
        choices=("alrare", "paper"),
        default="alrare",
        help="alrare: the defaults. paper: the protocol of Jung, Choi, Lee 2024 (default: alrare)",
    )
    add("schema", commands.schema, "print the JSON schema of al.toml", "alrare schema > al.json")


def _config_argument(one: argparse.ArgumentParser) -> None:
    one.add_argument("config", type=Path, metavar="AL.TOML", help="the campaign's configuration")


def _retry_option(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--retry",
        action="store_true",
        help="try all failed labels again, also those that failed for a reason of their own",
    )


def _quiet_option(one: argparse.ArgumentParser) -> None:
    one.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def _json_option(one: argparse.ArgumentParser, text: str) -> None:
    one.add_argument("--json", action="store_true", help=text)


def _label_key_options(one: argparse.ArgumentParser) -> None:
    for what, unit in (("energy", "eV"), ("forces", "eV/Å"), ("stress", "eV/Å³, of cells")):
        text = f"name of the {what} ({unit}) in the file (default: {what})"
        one.add_argument(f"--{what}-key", metavar="KEY", help=text)
    one.add_argument(
        "--any-units",
        action="store_true",
        help="take also labels that do not look like eV and Å, which are refused otherwise",
    )


def _not_negative(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0 to {2**31 - 1}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def _forces_option(one: argparse.ArgumentParser, text: str) -> None:
    field = Config.model_fields["forces"]
    one.add_argument(
        "--forces",
        choices=("best", "mean"),
        help=f"{text}: the best member or the mean of all (default: {field.default})",
    )


def _workers_option(one: argparse.ArgumentParser) -> None:
    text = "tasks at a time (0: one per core)"
    one.add_argument("--workers", type=_not_negative, default=0, metavar="N", help=text)
