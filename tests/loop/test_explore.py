"""A campaign of own and shipped inputs: a periodic crystal, two explorations, one model."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alrare.campaign import of_system, read_results, run_explorations
from alrare.config import load_config
from alrare.errors import AlrareError
from alrare.frames import read_frames
from alrare.labelling.store import LabelStore
from ase.build import bulk
from ase.io import write

OWN = """\
# copper is compressed along z, and says how much it resists
include   system.lmp
variable  rate index 1.0
variable  steps index 100
include   potential.lmp
velocity  all create 50.0 ${seed} mom yes rot yes dist gaussian loop all
fix       move all nve
run       10
reset_timestep 0
variable  length equal lz
variable  rest equal $(v_length:%.17g)
variable  compression equal 1.0-v_length/v_rest
variable  pressure equal c_thermo_press*1e-4
include   watch.lmp
fix       press all deform 1 z erate -${rate} remap x
run       ${steps}
"""
CONFIG = """
name = "copper"
structure = "copper.extxyz"
iterations = 1

[labeller]
program = "ase"
calculator = "ase.calculators.emt.EMT"

[initial]
temperature = 300.0
equilibration_steps = 10
steps = 200
stride = 5
at_rest = 4

[[explore]]
input = "stretch"
seeds = [1, 2]
variables = { rate = 3.0, steps = 150, relax_steps = 10 }
event = "strain > 0.15"
observable = { tolerance = 1.0 }

[[explore]]
input = "in.press"
seeds = [1]
variables = { steps = 120 }
columns = { compression = "v_compression", pressure = "v_pressure" }
cv = "compression"
cv_gap = 0.001
event = "none"
observable = { name = "resistance", value = "max(pressure)", unit = "GPa", tolerance = 1.0 }

[model]
members = 2
hidden = { Cu = [16, 12] }

[train]
recipe = "fast"
min_steps = 60
epochs = 30

[select]
screening_steps = 20
energy_gap = 0.01
max_per_iteration = 4
around_event = 4
event_window = [50, 200]

[run]
workers = 2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "al.toml").write_text(CONFIG)
    (tmp_path / "in.press").write_text(OWN)
    write(tmp_path / "copper.extxyz", bulk("Cu", a=3.6, cubic=True) * (2, 2, 2))
    return tmp_path


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "alrare", "run", "al.toml", "--quiet"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_inputs_drive_one_crystal_and_survive_being_killed(folder: Path) -> None:
    run = folder / "runs" / "copper"
    for place in ("reference/stretch/.run_1.partial/labels.journal", "iter_000/stretch/run_1"):
        process = start(folder)
        deadline = time.monotonic() + 300.0
        while not (run / place).exists():
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(folder)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    results = read_results(run)
    assert list(results["reference"]) == ["stretch", "press"]
    before = after = 0.0  # errors of both: that of one may be small by chance at first
    for name, key, unit in (("stretch", "strength", "GPa"), ("press", "resistance", "GPa")):
        one = of_system(results, name)
        assert (one["observable"]["key"], one["observable"]["unit"]) == (key, unit)
        assert one["reference"][key] > 1.0
        before += abs(one["iterations"][0]["error"])
        after += abs(one["iterations"][-1]["error"])
        assert abs(one["iterations"][-1]["error"]) < 0.5 * one["reference"][key]
        assert one["iterations"][-1]["convergence"]["around_event"]["n_frames"] >= 2
    assert after < before
    # The crystal's MD and relaxation are done once and serve both.
    first, second = (run / "reference" / name / "data" for name in ("stretch", "press"))
    assert (first / "trajectory.extxyz").read_bytes() == (second / "trajectory.extxyz").read_bytes()
    # Only steps from watch.lmp on are kept, with their cells.
    frames = read_frames(run / "reference" / "press" / "run_1" / "trajectory.extxyz")
    assert [frame.info["step"] for frame in frames] == list(range(10, 121, 10))
    assert frames[-1].cell[2, 2] < 0.95 * frames[0].cell[2, 2]
    with LabelStore(run / "labels" / "labels.sqlite") as store:
        periodic = store.frames(store.keys("iteration 0, stretch"))
    assert periodic and all(frame.pbc.all() for frame in periodic)
    for name in ("work_curves_stretch.png", "errors_press.png"):
        assert (run / name).stat().st_size > 10_000
    table = subprocess.run(
        [sys.executable, "-m", "alrare", "status", run], capture_output=True, text=True, check=True
    ).stdout
    assert "Strength of the labeller" in table and "Resistance of the labeller" in table
    assert "(GPa)" in table and "E_a" not in table
    # The input of a run by the model repeats it by hand.
    again = run / "iter_001" / "press" / "run_1"
    before = (again / "table.dat").read_text()
    lmp = Path(sys.executable).parent / "lmp"
    subprocess.run([lmp, "-in", "in.press", "-screen", "none"], cwd=again, check=True)
    assert (again / "table.dat").read_text() == before
    # The same runs without a campaign: by its model, and by its labeller.
    reference = run / "reference"
    config = load_config(folder / "al.toml")
    by_model = run_explorations(
        config, folder / "by_model", model=run / "iter_001", against=reference
    )
    for name in ("stretch", "press"):
        rows = of_system(results, name)["iterations"]
        assert by_model[name]["difference"]["mean"] == pytest.approx(rows[-1]["error"], abs=0.05)
    by_labeller = run_explorations(config, folder / "by_labeller", against=reference)
    # EMT's forces on the perfect crystal vanish, so that relaxation changes nothing
    assert by_labeller["press"]["difference"]["mean"] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(AlrareError, match="another potential"):
        run_explorations(config, folder / "by_labeller", model=run / "iter_001")
    text = CONFIG.replace('pressure = "v_pressure" }', 'pressure = "v_rest" }')
    (folder / "other.toml").write_text(text)
    with pytest.raises(AlrareError, match=r"its watch\.lmp is missing or another"):
        run_explorations(load_config(folder / "other.toml"), folder / "x", against=reference)
    (folder / "in.press").write_text(OWN.replace("run       10", "run       11"))
    with pytest.raises(AlrareError, match=r"its in\.press is missing or another"):
        run_explorations(load_config(folder / "al.toml"), folder / "x", against=reference)
