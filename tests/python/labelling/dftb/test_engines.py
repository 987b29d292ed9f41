import contextlib
import os
import signal
from pathlib import Path

import ase.io
import numpy as np
import pytest
from alrare.frames import label_of
from alrare.labelling.batch import label
from alrare.labelling.calculators import evaluate_frame, evaluate_stress
from alrare.labelling.dftb.engines import DftbPlus, LibraryEngine, find_library
from alrare.labelling.dftb.run import run_once
from alrare.labelling.failures import LabelFailure
from alrare.labelling.store import LabelStore
from alrare.progress import SilentProgress
from ase import Atoms
from ase.build import bulk, molecule

DATA = Path(__file__).resolve().parents[3] / "data" / "dftb"
ENGINES = ["library", "socket"]
WHOLE = -82  # the first frame of the pull


@pytest.fixture(params=ENGINES)
def kept_alive(request, dftb, tmp_path):
    if request.param == "library" and find_library() is None:
        pytest.skip("libdftbplus is not beside dftb+")
    calculator = DftbPlus(
        labeller=dftb.model_copy(update={"engine": request.param}), folder=tmp_path / "scratch"
    )
    yield calculator
    calculator.close()


@pytest.fixture
def hexanes():
    """Frames of hot hexane and of a pull, in time order, with the labels of another run."""
    return ase.io.read(DATA / "hexane.extxyz.xz", index=":")


def methanes(n, seed=1):
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        frame = molecule("CH4")
        frame.positions += rng.uniform(-0.05, 0.05, (5, 3))
        frames.append(frame)
    return frames


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


@pytest.fixture
def started():
    """Return a function: the processes that this one has started since the test began."""
    before = set(children(os.getpid()))  # another test may have left a resource tracker
    return lambda: [pid for pid in children(os.getpid()) if pid not in before]


def test_the_stress_of_every_engine_is_the_strain_derivative_of_the_energy(kept_alive, dftb):
    crystal = bulk("C", "diamond", a=3.4)
    crystal.rattle(0.03, seed=1)
    sheared = np.eye(3) + 0.03 * np.random.default_rng(0).normal(size=(3, 3))
    crystal.set_cell(crystal.cell.array @ sheared, scale_atoms=True)
    for _ in range(2):  # the first is compared with a process of its own
        evaluate_frame(kept_alive, crystal, min_distance=0.5)
        stress = evaluate_stress(kept_alive, crystal)
        assert kept_alive.engine != "process"
    step = 1e-3
    for component, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = crystal.copy()
            strained.set_cell(crystal.cell.array @ strain, scale_atoms=True)
            energies.append(evaluate_frame(kept_alive, strained, min_distance=0.5)[0])
        slope = (energies[0] - energies[1]) / (2 * step) / crystal.get_volume()
        assert stress[component] == pytest.approx(slope, abs=1e-4), component
    evaluate_frame(kept_alive, molecule("CH4"), min_distance=0.5)
    assert evaluate_stress(kept_alive, molecule("CH4")) is None


def test_a_kept_alive_engine_gives_the_labels_of_one_process_a_call(kept_alive, dftb, tmp_path):
    for n, frame in enumerate(methanes(6)):
        energy, forces = evaluate_frame(kept_alive, frame, min_distance=0.5)
        known, known_forces = run_once(dftb, frame, tmp_path / "call")
        assert energy == pytest.approx(known, abs=1e-7), n
        np.testing.assert_allclose(forces, known_forces, atol=1e-6)
    assert kept_alive.engine != "process"


def test_other_elements_start_the_engine_again(kept_alive, dftb, tmp_path):
    for name in ("CH4", "C2H6", "CH4", "CH3CH2OH"):
        frame = molecule(name)
        energy, forces = evaluate_frame(kept_alive, frame, min_distance=0.5)
        known, known_forces = run_once(dftb, frame, tmp_path / "call")
        assert energy == pytest.approx(known, abs=1e-7)
        np.testing.assert_allclose(forces, known_forces, atol=1e-6)


def test_an_ion_is_labelled_with_its_charge_and_the_molecule_after_it_without(
    kept_alive, dftb, tmp_path
):
    methyl = molecule("CH3")
    methyl = Atoms(methyl.numbers, methyl.positions)
    cation = methyl.copy()
    cation.info["charge"] = 1
    energies = []
    for number, frame in enumerate((methyl, cation, methyl)):
        energy, forces = evaluate_frame(kept_alive, frame, min_distance=0.5)
        known, known_forces = run_once(dftb, frame, tmp_path / str(number))
        assert energy == pytest.approx(known, abs=1e-5)
        np.testing.assert_allclose(forces, known_forces, atol=1e-4)
        energies.append(energy)
        kept_alive.reset()
    assert 8 < energies[1] - energies[0] < 11  # the ionization energy of methyl is 9.8 eV
    assert energies[2] == pytest.approx(energies[0], abs=1e-6)


def test_a_cell_is_labelled_as_by_one_process(kept_alive, dftb, tmp_path):
    first = bulk("C", cubic=True)
    first.rattle(0.02, seed=1)
    second = first.copy()
    second.set_cell(np.array([[3.6, 0, 0], [0.1, 3.5, 0], [0, 0.05, 3.7]]), scale_atoms=True)
    for frame in (first, second):
        energy, forces = evaluate_frame(kept_alive, frame, min_distance=0.5)
        known, known_forces = run_once(dftb, frame, tmp_path / "call")
        assert energy == pytest.approx(known, abs=1e-6)
        np.testing.assert_allclose(forces, known_forces, atol=1e-5)


def test_a_frame_that_does_not_converge_is_classified_and_the_next_is_labelled(
    dftb, tmp_path, hexanes
):
    # In 25 cycles the relaxed chain converges and the broken one does not.
    strict = dftb.model_copy(update={"scc_cycles": 25})
    calculator = DftbPlus(labeller=strict, folder=tmp_path / "scratch")
    calm, broken = hexanes[WHOLE], hexanes[-1]
    assert broken.info["spring_distance"] > 9
    try:
        before, _ = evaluate_frame(calculator, calm, min_distance=0.5)
        with pytest.raises(LabelFailure, match="NOT converged") as caught:
            evaluate_frame(calculator, broken, min_distance=0.5)
        assert caught.value.kind == "not_converged"
        assert (tmp_path / "scratch" / "call" / "dftb_in.hsd").is_file()
        after, _ = evaluate_frame(calculator, calm, min_distance=0.5)
    finally:
        calculator.close()
    assert after == pytest.approx(before, abs=1e-9)


@pytest.mark.parametrize("victim", ["server", "fork"])
def test_an_engine_that_is_killed_loses_no_label(dftb, tmp_path, victim, started):
    if find_library() is None:
        pytest.skip("libdftbplus is not beside dftb+")
    calculator = DftbPlus(labeller=dftb, folder=tmp_path / "scratch")
    try:
        for n, frame in enumerate(methanes(13)):
            energy, _ = evaluate_frame(calculator, frame, min_distance=0.5)
            assert energy == pytest.approx(run_once(dftb, frame, tmp_path / "c")[0], abs=1e-7)
            if n % 3 == 1:
                (server,) = started()
                os.kill(server if victim == "server" else children(server)[0], signal.SIGKILL)
        assert calculator.engine == "library"
    finally:
        calculator.close()
    assert not started()


def test_the_library_repeats_a_label_to_the_last_bit_whatever_came_before(dftb, tmp_path, hexanes):
    if find_library() is None:
        pytest.skip("libdftbplus is not beside dftb+")
    calculator = DftbPlus(labeller=dftb, folder=tmp_path / "scratch")
    few = hexanes[::10]
    try:
        evaluate_frame(calculator, few[0], min_distance=0.5)  # starts the engine
        first = [evaluate_frame(calculator, frame, min_distance=0.5) for frame in few]
        again = [evaluate_frame(calculator, frame, min_distance=0.5) for frame in few[::-1]][::-1]
    finally:
        calculator.close()
    for (energy, forces), (energy_again, forces_again) in zip(first, again, strict=True):
        assert energy == energy_again
        np.testing.assert_array_equal(forces, forces_again)


def test_a_hundred_known_labels_are_repeated(dftb, tmp_path, hexanes):
    done = label(
        hexanes,
        labeller=dftb,
        store_path=tmp_path / "labels.sqlite",
        folder=tmp_path / "labels",
        workers=2,
        progress=SilentProgress(),
    )
    assert (done.computed, done.failed) == (len(hexanes), ()) and len(hexanes) > 100
    with LabelStore(tmp_path / "labels.sqlite") as store:
        for ours, theirs in zip(store.frames(done.keys), hexanes, strict=True):
            energy, forces = label_of(ours)
            assert energy == pytest.approx(label_of(theirs)[0], abs=1e-4)
            np.testing.assert_allclose(forces, label_of(theirs)[1], atol=1e-3)


def test_input_and_output_of_a_failed_label_are_kept(dftb, tmp_path, hexanes):
    done = label(
        [hexanes[WHOLE], hexanes[-1]],  # whole and broken
        labeller=dftb.model_copy(update={"scc_cycles": 25}),
        store_path=tmp_path / "labels.sqlite",
        folder=tmp_path / "labels",
        workers=1,
        progress=SilentProgress(),
    )
    (failed,) = done.failed
    assert failed.kind == "not_converged" and "maximal SCC iterations exceeded" in failed.reason
    kept = tmp_path / "labels" / "failed" / failed.key[:16]
    assert (kept / "call" / "dftb_in.hsd").is_file()
    assert "SCC is NOT converged" in (kept / "call" / "stdout").read_text()
    assert len(ase.io.read(kept / "frame.extxyz")) == 20


def test_an_engine_that_disagrees_with_the_program_is_not_used(dftb, tmp_path, monkeypatch):
    if find_library() is None:
        pytest.skip("libdftbplus is not beside dftb+")

    def wrong(self, frame, timeout):
        return -1.0, np.zeros((len(frame), 3))

    monkeypatch.setattr(LibraryEngine, "label", wrong)
    only_library = dftb.model_copy(update={"engine": "library"})
    calculator = DftbPlus(labeller=only_library, folder=tmp_path / "scratch")
    energy, _ = evaluate_frame(calculator, molecule("CH4"), min_distance=0.5)
    assert energy < -80
    assert calculator.engine == "process"


def test_without_the_library_the_socket_is_taken(dftb, tmp_path, monkeypatch):
    monkeypatch.setattr("alrare.labelling.dftb.engines.find_library", lambda: None)
    calculator = DftbPlus(labeller=dftb, folder=tmp_path / "scratch")
    try:
        evaluate_frame(calculator, molecule("CH4"), min_distance=0.5)
        assert calculator.engine == "socket"
    finally:
        calculator.close()
    with pytest.raises(LabelFailure, match="engine = 'library': no libdftbplus"):
        DftbPlus(
            labeller=dftb.model_copy(update={"engine": "library"}), folder=tmp_path / "scratch"
        )


def test_an_engine_that_hangs_is_ended_at_the_time_limit(dftb, tmp_path, started):
    if find_library() is None:
        pytest.skip("libdftbplus is not beside dftb+")
    calculator = DftbPlus(labeller=dftb, folder=tmp_path / "scratch")
    try:
        evaluate_frame(calculator, molecule("CH4"), min_distance=0.5)
        (server,) = started()
        os.kill(children(server)[0], signal.SIGSTOP)
        calculator._labeller = dftb.model_copy(update={"timeout": 0.5})
        with pytest.raises(LabelFailure, match="did not answer") as caught:
            evaluate_frame(calculator, methanes(1)[0], min_distance=0.5)
        assert caught.value.kind == "timed_out"
    finally:
        calculator.close()
    assert not started()


def test_the_library_is_the_one_beside_the_program(tmp_path, monkeypatch):
    program, library = tmp_path / "bin" / "dftb+", tmp_path / "lib" / "libdftbplus.so"
    for path in (program, library):
        path.parent.mkdir()
        path.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert find_library() == library
    library.unlink()
    assert find_library() is None
    program.unlink()
    assert find_library() is None
