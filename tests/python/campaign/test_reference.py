import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from alrare.campaign.reference import run_reference
from alrare.config import InitialData, Labeller, Pull
from alrare.electronic_state import state_of
from alrare.errors import AlrareError, LabelError, SimulationError
from alrare.exploration.exploration import SpringPull
from alrare.exploration.label_server import labeller_potential
from alrare.exploration.labeller_md import LabellerMD, relax, run_md
from alrare.exploration.labeller_runs import System, run_pulls, seed_run
from alrare.exploration.lammps_input import TRAJECTORY_STRIDE, pull_input, write_data_file
from alrare.exploration.lammps_run import lammps_command, run_lammps
from alrare.exploration.smd import observe_pulls
from alrare.exploration.work import read_work
from alrare.frames import label_of, read_frames, write_frames
from alrare.labelling.batch import label
from alrare.labelling.calculators import evaluate_frame, make_calculator
from alrare.labelling.dftb.run import run_once
from alrare.labelling.failures import advice
from alrare.labelling.method import method_of
from alrare.labelling.store import LabelStore
from alrare.processes import worker_pool
from alrare.progress import SilentProgress
from ase import Atoms
from ase.build import molecule
from tblite.ase import TBLite

pytestmark = pytest.mark.needs_lmp

PULL = Pull(atoms=(1, 2), relax_steps=20, steps=60, rate=20.0, seeds=(1, 2))
INITIAL = InitialData(equilibration_steps=5, steps=20, stride=2)


def reference(folder, labeller=None, pull=PULL, progress=None, known=None):
    return run_reference(
        structure=molecule("C2H6"),
        elements=["H", "C"],
        labeller=labeller or Labeller(),
        initial=INITIAL,
        exploration=SpringPull(pull, 0.5),
        timestep=0.5,
        folder=folder,
        store_path=folder / "labels.sqlite",
        workers=2,
        progress=progress or SilentProgress(),
        known=[known] if known else [],
    )


class Watching(SilentProgress):
    def __init__(self):
        self.stages = []

    def stage(self, name, total):
        self.stages.append((name, total))
        return super().stage(name, total)


@pytest.fixture(scope="module")
def watching():
    return Watching()


@pytest.fixture(scope="module")
def ethane(tmp_path_factory, watching):
    folder = tmp_path_factory.mktemp("reference")
    return folder, reference(folder, progress=watching)


def test_the_relaxed_structure_is_a_minimum(ethane):
    _, result = ethane
    assert np.abs(label_of(result.structure)[1]).max() < 0.01


def test_the_pull_stretches_the_molecule_and_its_work_is_the_force_integral(ethane):
    _, result = ethane
    assert set(result.runs) == {1, 2}
    curves = [read_work(folder / "work.dat") for folder in result.runs.values()]
    for curve in curves:
        np.testing.assert_array_equal(curve.step, np.arange(61))
        np.testing.assert_allclose(curve.work, np.cumsum(curve.force) * 20 * 0.5e-3, atol=1e-9)
        assert curve.distance[-1] > curve.distance[0] + 0.2
        assert curve.work.max() > 0.1
    assert not np.array_equal(curves[0].distance, curves[1].distance)


def test_kept_frames_carry_the_labels_of_their_positions(ethane):
    _, result = ethane
    frames = read_frames(result.runs[1] / "trajectory.extxyz")
    steps = [frame.info["step"] for frame in frames]
    assert steps == list(range(TRAJECTORY_STRIDE, 61, TRAJECTORY_STRIDE))
    curve = read_work(result.runs[1] / "work.dat")
    np.testing.assert_allclose(
        [f.info["distance"] for f in frames], curve.distance[steps], atol=1e-7
    )
    energies = [label_of(frame)[0] for frame in frames]
    np.testing.assert_allclose(energies, curve.potential_energy[steps], atol=1e-6)
    energy, forces = evaluate_frame(
        make_calculator(Labeller(), result.runs[1]), frames[-1], min_distance=0.5
    )
    assert energies[-1] == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(label_of(frames[-1])[1], forces, atol=1e-3)


def test_the_initial_data_are_labels_that_nothing_computes_again(ethane):
    folder, result = ethane
    assert len(result.data_keys) == 10
    with LabelStore(folder / "labels.sqlite") as store:
        frames = store.frames([result.structure_key, *result.data_keys])
        assert set(store.keys("initial")) == {result.structure_key, *result.data_keys}
    assert label_of(frames[0])[0] == label_of(result.structure)[0]
    again = label(
        frames,
        labeller=Labeller(),
        store_path=folder / "labels.sqlite",
        folder=folder / "labels",
        workers=1,
        progress=SilentProgress(),
    )
    assert (again.reused, again.computed) == (11, 0)


def test_what_is_finished_is_never_repeated(ethane):
    folder, result = ethane
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite"]
    before = {path: path.stat().st_mtime_ns for path in files}
    wider = PULL.model_copy(update={"seeds": (1, 2, 3)})
    again = reference(folder, pull=wider)
    assert again.data_keys == result.data_keys
    assert set(again.runs) == {1, 2, 3}
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert not list(folder.glob(".*"))


def test_results_of_other_settings_are_refused(ethane):
    folder, _ = ethane
    with pytest.raises(AlrareError, match=r"pull_1: was made with another"):
        reference(folder, pull=PULL.model_copy(update={"rate": 10.0}))
    with pytest.raises(AlrareError, match=r"relaxed\.extxyz: was made with another"):
        reference(folder, labeller=Labeller(electronic_temperature=1000.0))


FORMER_POTENTIAL = """\
# the labeller's forces come in from outside: this input is a record, not for `lmp -in`
pair_style zero 5.0
pair_coeff * *
fix labeller all external pf/callback 1 1
fix_modify labeller energy yes"""


def as_former_version_wrote_it(folder):
    """Give the settings of a run the potential of versions that ran LAMMPS inside Python."""
    kept = folder / "settings.json"
    settings = json.loads(kept.read_text())
    commands = labeller_potential(("H", "C"))
    assert commands in settings["input"]
    settings["input"] = settings["input"].replace(commands, FORMER_POTENTIAL)
    kept.write_text(json.dumps(settings))


def test_runs_of_a_former_version_are_taken_as_they_are(ethane, tmp_path):
    folder, result = ethane
    former, new = tmp_path / "former", tmp_path / "new"
    shutil.copytree(folder, former)
    for name in ("pull_1", "pull_2", "data"):
        as_former_version_wrote_it(former / name)
    files = [path for path in former.rglob("*.*") if path.is_file() and path.suffix != ".sqlite"]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert reference(former).data_keys == result.data_keys
    assert {path: path.stat().st_mtime_ns for path in files} == before
    adopted = reference(new, known=former, pull=PULL.model_copy(update={"seeds": (1,)}))
    for name in ("pull_1/work.dat", "data/trajectory.extxyz"):
        assert (new / name).read_bytes() == (former / name).read_bytes()
    assert adopted.data_keys == result.data_keys
    with pytest.raises(AlrareError, match=r"pull_1: was made with another rate \(20, now 10\)"):
        reference(former, pull=PULL.model_copy(update={"rate": 10.0}))


def test_a_failing_labeller_stops_the_reference_and_is_named(tmp_path, fake_labeller):
    bad = Labeller(program="ase", calculator=fake_labeller, arguments={"log": str(tmp_path / "l")})
    with pytest.raises(SimulationError, match=r"labeller failed after 0 steps: not_converged"):
        run_pulls(
            structure=Atoms("CH", [[70.5, 0, 0], [71.6, 0, 0]]),
            elements=["H", "C"],
            labeller=bad,
            pull=PULL,
            timestep=0.5,
            folder=tmp_path,
            workers=1,
            progress=SilentProgress(),
        )
    assert not (tmp_path / "pull_1").exists()


def test_a_labeller_that_hangs_in_the_relaxation_is_ended_and_named(tmp_path, fake_labeller):
    hasty = Labeller(
        program="ase", calculator=fake_labeller, arguments={"log": str(tmp_path / "l")}, timeout=0.5
    )
    with pytest.raises(SimulationError, match=r"could not relax it: timed_out: no answer in 0\.5"):
        relax(Atoms("CH", [[90.5, 0, 0], [91.6, 0, 0]]), hasty, tmp_path / "relax")


def test_a_labeller_that_ends_its_process_is_reported(tmp_path, fake_labeller):
    bad = Labeller(program="ase", calculator=fake_labeller, arguments={"log": str(tmp_path / "l")})
    with pytest.raises(SimulationError, match=r"after 0 steps: crashed: .* died \(SIGKILL\)"):
        run_pulls(
            structure=Atoms("CH", [[80.5, 0, 0], [81.6, 0, 0]]),
            elements=["H", "C"],
            labeller=bad,
            pull=PULL,
            timestep=0.5,
            folder=tmp_path,
            workers=1,
            progress=SilentProgress(),
        )


def test_model_and_labeller_of_equal_forces_pull_alike(tmp_path, lmp):
    """Langevin noise included: this is what makes paired comparisons worth their name."""
    chain = Atoms("C4", [[1.35 * n, 0.3 * (n % 2), 0.1 * n] for n in range(4)])
    pull = PULL.model_copy(update={"thermostat": "langevin", "temperature": 300.0, "atoms": (1, 4)})
    settings = {"pull": pull, "seed": 3, "timestep": 0.5}
    labeller = Labeller(
        program="ase",
        calculator="ase.calculators.lj.LennardJones",
        arguments={"sigma": 1.2, "epsilon": 0.5, "rc": 30.0},
    )
    ours, theirs = tmp_path / "labeller", tmp_path / "model"
    ours.mkdir()
    theirs.mkdir()
    task = LabellerMD(
        text=pull_input(potential=labeller_potential(("C",)), **settings),
        structure=chain,
        elements=("C",),
        labeller=labeller,
        stride=10,
        pulled=(1, 4),
        folder=ours,
    )
    with worker_pool(1) as pool:
        pool.submit(run_md, task).result()
    write_data_file(theirs / "molecule.data", chain, ["C"])
    model = "pair_style lj/cut 30.0\npair_coeff * * 0.5 1.2"
    (theirs / "in.smd").write_text(pull_input(potential=model, **settings))
    run_lammps(lammps_command(lmp, 1), folder=theirs)
    a, b = read_work(ours / "work.dat"), read_work(theirs / "work.dat")
    np.testing.assert_allclose(a.distance, b.distance, atol=1e-7)
    np.testing.assert_allclose(a.work, b.work, atol=1e-7)


KILLED = """
import sys
from pathlib import Path
from alrare.config import Labeller, Pull
from alrare.frames import read_frames
from alrare.progress import SilentProgress
from alrare.exploration.labeller_runs import run_pulls

if __name__ == "__main__":
    folder, labeller, structure = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    run_pulls(structure=read_frames(structure)[0], elements=["H", "C"],
              labeller=Labeller.model_validate_json(labeller),
              pull=Pull(atoms=(1, 2), relax_steps=20, steps=300, rate=5.0, seeds=(1,),
                        temperature=300.0, thermostat="langevin"),
              timestep=0.5, folder=folder, workers=1, progress=SilentProgress())
"""


@pytest.fixture
def cut_and_whole(tmp_path):
    """Make a pull that is killed twice and goes on, and one that is not; return their folders."""
    (tmp_path / "driver.py").write_text(KILLED)

    def start(folder, labeller):
        command = [sys.executable, tmp_path / "driver.py", folder, labeller.model_dump_json()]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([*command, tmp_path / "start.xyz"], env=env)

    def run(structure, labellers):
        write_frames(tmp_path / "start.xyz", [structure])
        for folder in labellers:
            folder.mkdir()
        cut, whole = labellers
        journal, one = cut / ".pull_1.partial" / "labels.journal", 24 * len(structure)  # forces
        for least in (10, 150):  # labels: in the relaxation, and in the pull
            with start(cut, labellers[cut]) as driver:
                while not journal.exists() or journal.stat().st_size < least * one:
                    assert driver.poll() is None
                    time.sleep(0.02)
                driver.kill()
            assert not (cut / "pull_1").exists()
            if least == 10:  # as if a version had begun it that ran LAMMPS inside Python
                as_former_version_wrote_it(cut / ".pull_1.partial")
        for folder in (cut, whole):
            with start(folder, labellers[folder]) as driver:
                assert driver.wait() == 0
        for name in ("work.dat", "trajectory.extxyz"):
            assert (cut / "pull_1" / name).read_bytes() == (whole / "pull_1" / name).read_bytes()
        assert not (cut / ".pull_1.partial").exists()
        assert not (cut / "pull_1" / "labels.journal").exists()

    return run


def test_a_killed_pull_goes_on_to_the_same_curve_and_repeats_no_label(
    cut_and_whole, tmp_path, fake_labeller
):
    labellers = {}
    for folder in (tmp_path / "cut", tmp_path / "whole"):
        arguments = {"log": str(folder / "log"), "seconds": 0.005}
        labellers[folder] = Labeller(program="ase", calculator=fake_labeller, arguments=arguments)
    cut_and_whole(Atoms("CH", [[0, 0, 0], [0, 0, 1.1]]), labellers)
    calls = [len((folder / "log").read_text().splitlines()) for folder in labellers]
    # What was under way when the driver was killed was started again, and nothing else.
    assert calls[1] <= calls[0] <= calls[1] + 2


MORSE = """
from ase.calculators.morse import MorsePotential

class Counting(MorsePotential):
    def __init__(self, log):
        super().__init__(epsilon=4.0, r0=1.5, rho0=4.0, rcut1=20.0, rcut2=30.0)
        self.log = log

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        with open(self.log, "a") as stream:
            print(self.atoms.positions[0].tobytes().hex(), file=stream)
"""


def test_a_pull_ends_when_its_activation_energy_is_decided_and_can_go_on(tmp_path, monkeypatch):
    (tmp_path / "morse.py").write_text(MORSE)
    monkeypatch.syspath_prepend(tmp_path)

    def run(name, plus_steps):
        folder = tmp_path / name
        arguments = {"log": str(tmp_path / f"{name}.log")}
        run_pulls(
            structure=Atoms("C2", [[0, 0, 0], [0, 0, 1.5]]), elements=["C"],
            labeller=Labeller(program="ase", calculator="morse.Counting", arguments=arguments),
            pull=Pull(atoms=(1, 2), relax_steps=20, steps=1500, rate=5.0, seeds=(1,),
                      plus_steps=plus_steps),
            timestep=0.5, folder=folder, workers=1, progress=SilentProgress(),
        )  # fmt: skip
        curve = read_work(folder / "pull_1" / "work.dat")
        return curve, observe_pulls(folder, plus_steps=plus_steps)[1]

    whole, of_whole = run("whole", "all")
    assert whole.step[-1] == 1500
    curve, seen = run("short", 50)
    assert seen.cut_off and 200 <= curve.step[-1] - seen.event_step <= 260
    longer, of_longer = run("short", "slack")  # the same folder
    assert not of_longer.cut_off and curve.step[-1] < longer.step[-1] < 1500
    assert seen.activation_energy < of_longer.activation_energy < of_whole.activation_energy
    assert len(run("short", 50)[0].step) == len(longer.step)  # as long as it is
    all_of_it, of_all = run("short", "all")
    assert of_all == of_whole and len(all_of_it.step) == 1501
    files = [sorted(path.name for path in (tmp_path / name / "pull_1").iterdir())
             for name in ("short", "whole")]  # fmt: skip
    assert files[0] == files[1] and "labels.journal" not in files[0]
    for name in ("trajectory.extxyz", "work.dat"):
        one, other = (tmp_path / folder / "pull_1" / name for folder in ("short", "whole"))
        assert one.read_bytes() == other.read_bytes()
    counts = [
        Counter((tmp_path / f"{name}.log").read_text().split()) for name in ("short", "whole")
    ]
    assert len(counts[1]) > 1500 and counts[0].keys() == counts[1].keys()
    twice = [key for key, n in counts[0].items() if n > counts[1][key]]
    assert len(twice) <= 1  # the start, by which the labeller is checked


def test_an_interrupted_run_with_more_labels_than_one_elsewhere_is_kept(tmp_path):
    pull = Pull(atoms=(1, 2), relax_steps=20, steps=1500, rate=5.0, seeds=(1,), plus_steps=50)
    morse = Labeller(
        program="ase", calculator="ase.calculators.morse.MorsePotential",
        arguments={"epsilon": 4.0, "r0": 1.5, "rho0": 4.0, "rcut1": 20.0, "rcut2": 30.0},
    )  # fmt: skip
    start = Atoms("C2", [[0, 0, 0], [0, 0, 1.5]])
    run_pulls(
        structure=start, elements=["C"], labeller=morse, pull=pull, timestep=0.5,
        folder=tmp_path / "known", workers=1, progress=SilentProgress(),
    )  # fmt: skip
    known = tmp_path / "known" / "pull_1"
    system = System(start, ("C",), morse, 0.5, method_of(morse, ["C"]).hash)
    whole = SpringPull(pull.model_copy(update={"plus_steps": "all"}), 0.5)
    run = seed_run(tmp_path / "mine", system, whole, 1)
    run.adopt(known)
    assert run.folder.is_dir() and not run.is_finished()  # it ended early
    run.prepare()
    journal = run.md.folder / "labels.journal"
    assert not run.folder.exists()
    with journal.open("ab") as stream:
        stream.write(b"more labels")
    run.adopt(known)
    assert not run.folder.exists() and journal.read_bytes().endswith(b"more labels")
    journal.write_bytes(journal.read_bytes()[:1000])  # fewer than there
    run.adopt(known)
    assert run.folder.is_dir()


class Killed(BaseException):
    """As if the driver was killed."""


@pytest.mark.parametrize("name", ["publish", "Run.tidy"])
def test_a_driver_killed_at_the_end_of_a_run_repeats_no_label(
    name, tmp_path, fake_labeller, monkeypatch
):
    def run():
        run_pulls(
            structure=Atoms("CH", [[0, 0, 0], [0, 0, 1.1]]),
            elements=["H", "C"],
            labeller=Labeller(
                program="ase", calculator=fake_labeller, min_distance=0.01,
                arguments={"log": str(tmp_path / "log")},
            ),
            pull=PULL.model_copy(update={"seeds": (1,)}),
            timestep=0.5,
            folder=tmp_path,
            workers=1,
            progress=SilentProgress(),
        )  # fmt: skip
        return (tmp_path / "log").read_text()

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"alrare.exploration.labeller_runs.{name}", killed)
        with pytest.raises(Killed):
            run()
    calls = (tmp_path / "log").read_text()
    assert len(calls.splitlines()) > 60
    assert run() == calls
    assert (tmp_path / "pull_1" / "trajectory.extxyz").is_file()
    assert not (tmp_path / "pull_1" / "labels.journal").exists()


def test_a_killed_pull_of_dftb_goes_on_to_the_same_curve(cut_and_whole, tmp_path, dftb):
    cut_and_whole(molecule("C2H6"), dict.fromkeys((tmp_path / "cut", tmp_path / "whole"), dftb))


def test_dftb_drives_a_pull(dftb, tmp_path):
    pull = PULL.model_copy(update={"seeds": (1,)})
    folders = run_pulls(
        structure=molecule("C2H6"),
        elements=["H", "C"],
        labeller=dftb,
        pull=pull,
        timestep=0.5,
        folder=tmp_path,
        workers=1,
        progress=SilentProgress(),
    )
    frame = read_frames(folders[1] / "trajectory.extxyz")[-1]
    energy, forces = run_once(dftb, frame, tmp_path / "call")
    assert label_of(frame)[0] == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(label_of(frame)[1], forces, atol=1e-4)


def test_progress_counts_every_step_once(ethane, watching):
    assert watching.stages == [("relax", None), ("reference", 2 * 80 + 25)]


def test_md_and_pulls_of_an_ion_have_its_charge(tmp_path):
    ion = molecule("CH4")
    ion.numbers[0], ion.info["charge"] = 7, 1
    result = run_reference(
        structure=ion,
        elements=["H", "N"],
        labeller=Labeller(),
        initial=INITIAL,
        exploration=SpringPull(PULL.model_copy(update={"seeds": (1,)}), 0.5),
        timestep=0.5,
        folder=tmp_path,
        store_path=tmp_path / "labels" / "labels.sqlite",
        workers=2,
        progress=SilentProgress(),
    )
    with LabelStore(tmp_path / "labels" / "labels.sqlite") as store:
        stored = store.frames(result.data_keys)
    pulled = read_frames(result.runs[1] / "trajectory.extxyz")
    frames = [result.structure, *stored, *pulled]
    assert {state_of(frame) for frame in frames} == {(1, 1)}
    for frame in (result.structure, stored[-1], pulled[-1]):
        known = TBLite(method="GFN2-xTB", charge=1, verbosity=0).get_property("energy", frame)
        assert label_of(frame)[0] == pytest.approx(known, abs=1e-5)


def test_a_labeller_whose_forces_have_the_wrong_sign_drives_no_md(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrong.py").write_text(
        "from tblite.ase import TBLite\n"
        "class Gradient(TBLite):\n"
        "    def calculate(self, *arguments):\n"
        "        super().calculate(*arguments)\n"
        "        self.results['forces'] *= -1\n"
    )
    wrong = Labeller(program="ase", calculator="wrong.Gradient", arguments={"verbosity": 0})
    with pytest.raises(LabelError, match="flip their sign"):
        reference(tmp_path / "reference", labeller=wrong)
    assert not (tmp_path / "reference" / "relaxed.extxyz").exists()
    with pytest.raises(LabelError, match="flip their sign"):
        run_pulls(
            structure=molecule("C2H6"),
            elements=["H", "C"],
            labeller=wrong,
            pull=PULL,
            timestep=0.5,
            folder=tmp_path / "pulls",
            workers=1,
            progress=SilentProgress(),
        )


def test_the_advice_belongs_to_the_failure(tmp_path, fake_labeller):
    arguments = {"log": str(tmp_path / "l")}
    bad = Labeller(program="ase", calculator=fake_labeller, arguments=arguments)
    with pytest.raises(SimulationError, match="remove the cause") as caught:
        run_pulls(
            structure=Atoms("CH", [[60.5, 0, 0], [61.6, 0, 0]]),
            elements=["H", "C"],
            labeller=bad,
            pull=PULL,
            timestep=0.5,
            folder=tmp_path,
            workers=1,
            progress=SilentProgress(),
        )
    assert "electronic_temperature" not in str(caught.value)
    assert "electronic_temperature" in advice("not_converged", "tblite")
    assert "electronic_temperature" not in advice("not_converged", "ase")
