import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.errors import LabelError
from alrare.labelling.calculators import evaluate_frame, make_calculator
from alrare.labelling.dftb.run import geometry, program_version, read_label, run_once, write_input
from alrare.labelling.failures import LabelFailure
from alrare.labelling.method import method_of
from alrare.labelling.worker import LabelWorker
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read
from ase.units import Hartree

DATA = Path(__file__).resolve().parents[3] / "data" / "dftb"
"""Recorded runs of DFTB+ 25.1: see the README there."""
LABELLER = Labeller(program="dftb+", slater_koster=Path("/3ob"), engine="process", timeout=60.0)

HEXANE, ETHANE, METHANE = 20, 8, 5
OUTCOMES = {
    "ok_relaxed": (HEXANE, None),
    "ok_stretched": (HEXANE, None),
    "ok_broken_T1000": (HEXANE, None),
    "ok_methane": (METHANE, None),
    "ok_torn_ethane_3000K": (ETHANE, None),
    "close_contact_CC_0.45": (HEXANE, None),  # a geometry check is ours: see evaluate_frame
    "close_contact_HH_0.3": (HEXANE, None),
    "not_converged": (ETHANE, "not_converged"),
    "scc_fail_broken_T0": (HEXANE, "not_converged"),
    "scc_fail_maxiter5": (HEXANE, "not_converged"),
    "scc_warn_broken_T0_convonly_no": (HEXANE, "not_converged"),
    "nan_coordinate": (HEXANE, "not_converged"),
    "coincident_atoms": (HEXANE, "unphysical"),
    "missing_skf": (METHANE, "rejected"),
    "missing_one_skf_HC": (HEXANE, "rejected"),
    "missing_hubbard_H": (HEXANE, "rejected"),
    "truncated_skf": (HEXANE, "rejected"),
    "truncated_geo": (HEXANE, "rejected"),
    "bad_keyword_CalculateForces": (HEXANE, "rejected"),
    "no_dftb_in": (HEXANE, "rejected"),
}
"""Atoms of each recorded run, and the kind of failure that its files show."""


def status_of(case):
    return int((case / "exitcode").read_text())


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_way_to_fail_is_recognized(name):
    case, (n_atoms, outcome) = DATA / name, OUTCOMES[name]
    if outcome is None:
        energy, forces = read_label(case, status_of(case), n_atoms)
        assert np.isfinite(energy)
        assert forces.shape == (n_atoms, 3)
        np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-6)
        return
    with pytest.raises(LabelFailure) as caught:
        read_label(case, status_of(case), n_atoms)
    assert caught.value.kind == outcome


def test_no_case_is_forgotten():
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == set(OUTCOMES)


@pytest.mark.parametrize(
    ("name", "known"), [("ok_methane", -87.919266), ("ok_torn_ethane_3000K", -150.067420)]
)
def test_energies_are_in_ev(name, known):
    energy, _ = read_label(DATA / name, 0, OUTCOMES[name][0])
    assert energy == pytest.approx(known, abs=1e-6)


def test_a_run_that_left_no_results_is_no_label(tmp_path):
    for name in ("dftb_in.hsd", "geo.gen", "stdout"):
        shutil.copy(DATA / "ok_relaxed" / name, tmp_path)
    with pytest.raises(LabelFailure) as caught:
        read_label(tmp_path, 0, HEXANE)
    assert caught.value.kind == "not_converged"


@pytest.mark.parametrize("name", ["ok_broken_T1000", "ok_torn_ethane_3000K"])
def test_the_energy_is_the_free_one_that_the_forces_belong_to(name):
    text = (DATA / name / "detailed.out").read_text()
    mermin = re.search(r"Total Mermin free energy:\s+(\S+) H", text)
    internal = re.search(r"Total energy:\s+(\S+) H", text)
    assert mermin and internal
    energy, _ = read_label(DATA / name, 0, OUTCOMES[name][0])
    assert energy == pytest.approx(float(mermin.group(1)) * Hartree, abs=1e-7)
    assert energy < float(internal.group(1)) * Hartree - 0.1


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "no convergence line"])
def test_half_a_result_is_no_label(tmp_path, damage):
    run = tmp_path / "run"
    shutil.copytree(DATA / "ok_relaxed", run)
    tags = run / "results.tag"
    if damage == "cut":
        text = tags.read_text()
        tags.write_text(text[: text.index("forces ") + 400])
    elif damage == "empty":
        tags.write_text("")
    elif damage == "missing":
        tags.unlink()
    else:
        (run / "detailed.out").write_text("")
    with pytest.raises(LabelFailure):
        read_label(run, 0, 20)


def test_a_killed_program_is_a_crash(tmp_path):
    with pytest.raises(LabelFailure, match="status -9") as caught:
        read_label(tmp_path, -9, 20)
    assert caught.value.kind == "crashed"


def test_the_input_says_what_a_run_that_succeeded_said(tmp_path):
    def entries(text):
        words = re.sub(r"[{}=\"]", " ", text).split()
        return {" ".join(words[i : i + 2]) for i in range(len(words) - 1)}

    write_input(LABELLER, molecule("CH4"), tmp_path, driver="{}", results=True)
    text = (tmp_path / "dftb_in.hsd").read_text()
    real = entries((DATA / "ok_relaxed" / "dftb_in.hsd").read_text())
    for entry in (
        "C -0.1492",
        "H -0.1857",
        "ThirdOrderFull Yes",
        "ConvergentSCCOnly Yes",
        "SCCTolerance 1e-08",
        "PrintForces Yes",
        "ParserVersion 14",
        "WriteResultsTag Yes",
        "WriteDetailedOut Yes",
        "RestartFrequency 0",
    ):
        assert entry in real & entries(text)
    assert "[Kelvin] = 300" in text
    assert 'Prefix = "/3ob/"' in text


def test_a_cell_that_repeats_in_some_directions_only_is_refused(tmp_path):
    slab = bulk("C")
    slab.pbc = [True, True, False]
    with pytest.raises(LabelFailure, match="in all three directions"):
        write_input(LABELLER, slab, tmp_path, driver="{}", results=True)


def test_the_geometry_keeps_the_positions():
    lines = geometry(molecule("CH3CH2OH")).splitlines()
    assert lines[:2] == ["9 C", "C O H"]
    written = [[float(word) for word in line.split()[2:]] for line in lines[2:]]
    np.testing.assert_allclose(written, molecule("CH3CH2OH").positions, atol=1e-11)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program named dftb+ that answers with the files of a real run."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(case):
        program = folder / "dftb+"
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, shutil, sys\n"
            f"case = pathlib.Path({str(DATA / case)!r})\n"
            "for name in ('detailed.out', 'results.tag'):\n"
            "    if (case / name).exists():\n"
            "        shutil.copyfile(case / name, name)\n"
            "print((case / 'stdout').read_text())\n"
            "sys.exit(int((case / 'exitcode').read_text()))\n"
        )
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(folder), prepend=":")
    install("no_dftb_in")
    return install


def test_results_of_the_call_before_are_never_taken(stand_in, tmp_path):
    hexane = read(DATA / "ok_relaxed" / "geo.gen")
    dftb = make_calculator(LABELLER, tmp_path)
    stand_in("ok_relaxed")
    energy, forces = evaluate_frame(dftb, hexane, min_distance=0.5)
    assert energy == pytest.approx(-15.5815875533796 * Hartree, abs=1e-6)
    assert forces.shape == (20, 3)
    stand_in("missing_skf")  # fails without touching its old output files
    hexane.positions[0] += 0.01
    with pytest.raises(LabelFailure, match="SK file"):
        evaluate_frame(dftb, hexane, min_distance=0.5)


def test_converged_results_of_atoms_on_top_of_each_other_are_refused(tmp_path):
    for name in ("close_contact_CC_0.45", "close_contact_HH_0.3"):
        frame = read(DATA / name / "geo.gen")
        with pytest.raises(LabelFailure, match="Å apart") as caught:
            evaluate_frame(make_calculator(LABELLER, tmp_path), frame, min_distance=0.5)
        assert caught.value.kind == "unphysical"


@pytest.mark.slow
def test_the_method_holds_version_input_and_parameters(stand_in, tmp_path):
    assert program_version() == "25.1"
    for name in ("C-C", "C-H", "H-C", "H-H"):
        (tmp_path / f"{name}.skf").write_text(name)
    labeller = Labeller(program="dftb+", slater_koster=tmp_path)
    method = method_of(labeller, ["H", "C"])
    assert method.description["version"] == "25.1"
    assert method.hash == method_of(labeller, ["C", "H"]).hash
    for change in (
        {"electronic_temperature": 1000.0},
        {"scc_tolerance": 1e-6},
        {"third_order": "onsite"},
        {"hubbard_derivatives": {"C": -0.15}},
        {"damping_exponent": 4.2},
        {"hamiltonian": "Dispersion = DftD4 {}"},
    ):
        other = labeller.model_copy(update=change)
        assert method_of(other, ["H", "C"]).hash != method.hash
    for change in ({"engine": "process"}, {"timeout": 1.0}, {"max_failed": 0.1}):
        same = labeller.model_copy(update=change)
        assert method_of(same, ["H", "C"]).hash == method.hash
    (tmp_path / "C-H.skf").write_text("changed")
    assert method_of(labeller, ["H", "C"]).hash != method.hash


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabelError, match=r"dftb\+: no such program on PATH; install"):
        program_version()
    with pytest.raises(LabelFailure, match="No such file") as caught:
        run_once(LABELLER, molecule("CH4"), tmp_path / "call")
    assert caught.value.kind == "rejected"


@pytest.mark.slow
@pytest.mark.parametrize("words", ["MixingParameter = 0.05", "MixingParameter = 0.01"])
def test_what_does_not_converge_is_tried_with_other_mixers(tmp_path, monkeypatch, words):
    program = tmp_path / "dftb+"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, shutil, sys\n"
        f"data = pathlib.Path({str(DATA)!r})\n"
        f"other = {words!r} in pathlib.Path('dftb_in.hsd').read_text()\n"
        "run = data / ('ok_torn_ethane_3000K' if other else 'not_converged')\n"
        "for file in run.iterdir():\n"
        "    if file.name in ('detailed.out', 'results.tag'):\n"
        "        shutil.copy(file, file.name)\n"
        "print((run / 'stdout').read_text())\n"
        "sys.exit(int((run / 'exitcode').read_text()))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    energy, _ = run_once(LABELLER, molecule("C2H6"), tmp_path / "call")
    assert energy == pytest.approx(-150.067420, abs=1e-6)
    own = LABELLER.model_copy(update={"hamiltonian": "Mixer = DIIS {}"})
    with pytest.raises(LabelFailure, match="NOT converged"):
        run_once(own, molecule("C2H6"), tmp_path / "call")


def test_a_program_that_hangs_is_ended(tmp_path, monkeypatch):
    (tmp_path / "dftb+").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "dftb+").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    hasty = LABELLER.model_copy(update={"timeout": 0.3})
    with pytest.raises(LabelFailure, match=r"did not end in 0\.3 s") as caught:
        run_once(hasty, molecule("CH4"), tmp_path / "call")
    assert caught.value.kind == "timed_out"


@pytest.mark.slow
def test_a_wrapper_that_hangs_is_ended_with_what_it_started(tmp_path, monkeypatch, has_ended):
    (tmp_path / "dftb+").write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/pid\nwait\n")
    (tmp_path / "dftb+").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    worker = LabelWorker(LABELLER.model_copy(update={"timeout": 2.0}), tmp_path / "scratch")
    try:
        with pytest.raises(LabelFailure) as caught:
            worker.evaluate(molecule("CH4"))
        assert caught.value.kind == "timed_out"
        assert has_ended(int((tmp_path / "pid").read_text()))
    finally:
        worker.end()


def test_a_program_that_does_not_start_is_shown_in_its_own_words(tmp_path, monkeypatch):
    words = "dftb+: error while loading shared libraries: libx.so"
    (tmp_path / "dftb+").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 127\n")
    (tmp_path / "dftb+").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LabelFailure, match=r"status 127: dftb\+: error while loading"):
        run_once(LABELLER, molecule("CH4"), tmp_path / "call")
    with pytest.raises(LabelError, match=r"print its release, got 'dftb\+: error while loading"):
        program_version()


def test_the_real_program_repeats_a_known_label(dftb, tmp_path):
    case = DATA / "ok_relaxed"
    energy, forces = run_once(dftb, read(case / "geo.gen"), tmp_path / "call")
    known, known_forces = read_label(case, 0, 20)
    assert energy == pytest.approx(known, abs=1e-4)
    np.testing.assert_allclose(forces, known_forces, atol=1e-3)


def test_a_torn_ethane_that_most_mixers_give_up_is_labelled(dftb, tmp_path):
    carbons = [[-0.116918, -0.035556, 1.972277], [0.124279, 0.020237, -1.915124]]
    hydrogens = [
        [-0.784109, 0.713670, 2.331152],
        [-0.458072, -0.966555, 1.558836],
        [0.747618, 0.373077, 1.400821],
        [0.757608, -0.824009, -2.191146],
        [-0.923270, -0.161382, -1.915066],
        [0.572514, 1.047735, -1.865611],
    ]
    energy, _ = run_once(dftb, Atoms("C2H6", carbons + hydrogens), tmp_path / "call")
    assert energy == pytest.approx(-149.4146, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"scc_cycles": 3}, "not_converged"),
        ({"slater_koster": Path("/nowhere")}, "rejected"),
        ({"hamiltonian": "NoSuchKeyword = Yes"}, "rejected"),
    ],
)
def test_the_real_program_fails_as_the_cases_say(dftb, tmp_path, change, kind):
    with pytest.raises(LabelFailure) as caught:
        run_once(dftb.model_copy(update=change), molecule("CH4"), tmp_path / "call")
    assert caught.value.kind == kind
    assert (tmp_path / "call" / "stdout").is_file()


def test_atoms_that_coincide_are_unphysical_to_the_real_program(dftb, tmp_path):
    methane = molecule("CH4")
    methane.positions[1] = methane.positions[0]
    with pytest.raises(LabelFailure) as caught:
        run_once(dftb, methane, tmp_path / "call")
    assert caught.value.kind == "unphysical"
