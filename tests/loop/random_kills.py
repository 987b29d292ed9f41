"""Kill a small campaign at random instants, and compare its results with those of a quiet run.

    python tests/loop/random_kills.py --kills 100 [--executor parsl]

The labeller is an external program that works with files. Each process of a campaign is ended by a
random signal (KILL, TERM, INT or HUP) to the driver alone after a random time, and started again,
until the campaign ends; then the next campaign begins. At the end of each, results.json, both
models and all labels must be those of the undisturbed campaign, to the last bit; after each kill no
process may be left. Exit status 1 if anything differs.

With `--executor parsl` or slurm, tasks run in jobs, of this machine or of Slurm. A random one of
the driver, a worker and (slurm) a job is ended then; what a killed driver leaves ends later.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

LABELLER = Path(__file__).parents[1] / "python" / "labelling"
sys.path.insert(0, str(LABELLER))
from file_calculator import PROGRAM  # noqa: E402

CONFIG = """
name = "springs"
structure = "springs.xyz"
iterations = 1
timestep = 0.5

[labeller]
program = "ase"
calculator = "file_calculator.Files"
arguments = {{ command = "{program}" }}

[initial]
equilibration_steps = 5
steps = 60
stride = 3
at_rest = 4

[pull]
atoms = [1, 2]
rate = 100.0
relax_steps = 5
steps = 60
temperature = 50.0
seeds = [1, 2]
plus_steps = 15

[model]
members = 2
hidden = {{ H = [12, 8] }}
hidden_default = [12, 8]

[train]
epochs = 5

[select]
sigma = 1.0
screening_steps = 10
max_per_iteration = 4
around_event = 4
event_window = [30, 15]
max_force = 1e3
max_energy = 1e3

[run]
workers = 2
"""
ELSEWHERE = """\
executor = "parsl"

[cluster]
idle = 2
"""
MACHINES = """
[cluster.{kind}]
provider = "{provider}"
"""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Campaign:
    """A campaign in a folder of its own."""

    def __init__(self, folder: Path, executor: str) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "bin").mkdir(parents=True)
        program = folder / "bin" / "springs"
        program.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
        program.chmod(0o755)
        (folder / "bin" / "seconds").write_text("0", encoding="utf-8")
        (folder / "springs.xyz").write_text(
            "3\n\nC 0 0 0\nO 0 1.4 0\nH 1.5 0.2 0\n", encoding="utf-8"
        )
        text = CONFIG.format(program="springs")
        if executor != "local":
            provider = "local" if executor == "parsl" else executor
            kinds = ("label", "train", "run")
            text += ELSEWHERE + "".join(
                MACHINES.format(kind=kind, provider=provider) for kind in kinds
            )
        (folder / "al.toml").write_text(text, encoding="utf-8")

    def running(self) -> subprocess.Popen[bytes]:
        """Return the driver, started if there is none."""
        if self._process is None or self._process.returncode is not None:
            self._process = self.start()
        return self._process

    def start(self) -> subprocess.Popen[bytes]:
        """Start `alrare run`; every process that it starts carries the folder's name."""
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(LABELLER), environment.get("PYTHONPATH", "")]
        )
        environment["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{environment['PATH']}"
        environment["RANDOM_KILLS"] = str(self.folder)
        return subprocess.Popen(
            [sys.executable, "-m", "alrare", "run", "al.toml", "--quiet"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def left(self) -> list[int]:
        """Return the processes of this campaign that are there."""
        mark = f"RANDOM_KILLS={self.folder}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def results(self) -> dict[str, object]:
        """Return everything that must be the same."""
        run = self.folder / "runs" / "springs"
        content = json.loads((run / "results.json").read_text(encoding="utf-8"))
        for iteration in content["iterations"]:
            del iteration["seconds"]
        models = [path.read_bytes() for path in sorted(run.glob("iter_*/ensemble.safetensors"))]
        with sqlite3.connect(run / "labels" / "labels.sqlite") as database:
            query = "SELECT key, energy, forces FROM labels WHERE status = 'ok' ORDER BY key"
            labels = database.execute(query).fetchall()
        return {"results": content, "models": models, "labels": labels}


def run_quietly(campaign: Campaign) -> float:
    """Run a campaign to its end; return the seconds that it took."""
    begin = time.monotonic()
    process = campaign.start()
    output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the undisturbed campaign failed: {output.decode()}")
    return time.monotonic() - begin


def kill_once(campaign: Campaign, wait: float, victim: str) -> bool:
    """Start, wait, and end the victim; return whether the campaign had ended before."""
    process = campaign.running()
    try:
        output, _ = process.communicate(timeout=wait)
    except subprocess.TimeoutExpired:
        if victim == "worker":
            workers = [pid for pid in campaign.left() if is_worker(pid)]
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
        elif victim == "job":
            listed = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True)
            if listed.stdout.split():
                subprocess.run(["scancel", random.choice(listed.stdout.split())])
        else:
            process.send_signal(signal.Signals[victim])
            process.communicate()
        return False
    if process.returncode != 0:
        raise SystemExit(f"{campaign.folder}: {output.decode()}")
    return True


def is_worker(pid: int) -> bool:
    """Whether a process is a worker of Parsl."""
    words = command_of(pid)
    return "multiprocessing" in words or "process_worker_pool.py" in words


def command_of(pid: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def groups_of(pid: int) -> set[int]:
    """Return the process groups of a process and of those that started it; a job is one of them."""
    found = set()
    while pid > 1:
        try:
            parent, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1:3]
        except OSError:
            break
        found.add(int(group))
        pid = int(parent)
    return found


def said_of(pids: list[int]) -> str:
    """Return processes with their commands and groups, for a message."""
    return "".join(f"\n    {pid} {groups_of(pid)} {command_of(pid)[:300]}" for pid in pids)


def wait_for_nothing(campaign: Campaign, seconds: float = 10.0) -> list[int]:
    """Return the processes that are still there after some seconds."""
    deadline = time.monotonic() + seconds
    while campaign.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    return campaign.left()


def main() -> int:
    """Run the test; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--executor", choices=("local", "parsl", "slurm"), default="local")
    parser.add_argument(
        "--longest", type=float, default=12.0, help="seconds that a process runs at most"
    )
    options = parser.parse_args()
    # Background jobs and nohup ignore these, and what they start too; handlers are not passed on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda *_: None)
    rng = random.Random(options.seed)
    random.seed(options.seed)
    victims = [one.name for one in SIGNALS]
    if options.executor != "local":
        victims += ["worker"] * 4
    if options.executor == "slurm":
        victims += ["job"] * 4
    kills: Counter[str] = Counter()
    ended = faults = count = 0
    with tempfile.TemporaryDirectory() as scratch:
        quiet = Campaign(Path(scratch) / "quiet", "local")
        seconds = run_quietly(quiet)
        expected = quiet.results()
        print(f"undisturbed: {seconds:.0f} s, {len(expected['labels'])} labels", flush=True)
        while sum(kills.values()) < options.kills:
            campaign = Campaign(Path(scratch) / f"campaign_{count}", options.executor)
            count += 1
            done, later = False, set[int]()
            while not done and sum(kills.values()) < options.kills:
                victim = rng.choice(victims)
                done = kill_once(campaign, rng.uniform(1.0, options.longest), victim)
                if done:
                    continue
                kills[victim] += 1
                if options.executor != "local" and victim in ("worker", "job", "SIGKILL"):
                    # ended by the next driver, if it lives so long
                    for pid in campaign.left():
                        later |= groups_of(pid)
                    later -= groups_of(os.getpid())
                    continue
                left = [pid for pid in wait_for_nothing(campaign) if not groups_of(pid) & later]
                if left:
                    faults += 1
                    print(f"{campaign.folder.name}: {victim} left {said_of(left)}", flush=True)
            while not done:
                done = kill_once(campaign, 3600.0, "worker")
            left = wait_for_nothing(campaign, 20.0)  # a job looks for its driver every 5 s
            if left:
                faults += 1
                print(f"{campaign.folder.name}: its end left {said_of(left)}", flush=True)
            ended += 1
            found = campaign.results()
            for what in expected:
                if found[what] != expected[what]:
                    faults += 1
                    print(f"{campaign.folder.name}: other {what}", flush=True)
            print(f"{campaign.folder.name}: ended after {dict(kills)} in all", flush=True)
    print(f"{sum(kills.values())} kills {dict(kills)}, {ended} campaigns, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
