from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.electronic_state import state_of
from alrare.errors import LabelError
from alrare.labelling.calculators import evaluate_frame, make_calculator, reset
from alrare.labelling.failures import LabelFailure, describe_failures
from alrare.labelling.method import method_of
from alrare.labelling.tblite import SCF_ATTEMPTS
from alrare.labelling.worker import LabelWorker
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator, CalculationFailed
from ase.io import read
from ase.units import Hartree, kB
from tblite.ase import TBLite
from tblite.interface import Calculator as TBLiteCalculator

DATA = Path(__file__).resolve().parents[2] / "data" / "tblite"
XTB = Labeller()


def evaluate(atoms, labeller=XTB, folder=None):
    calculator = make_calculator(labeller, folder)
    return evaluate_frame(calculator, atoms, min_distance=labeller.min_distance)


def broken_ethane():
    ethane = molecule("C2H6")
    half = ethane.positions[:, 2] > 0
    ethane.positions[half, 2] += 1.5
    return ethane


@pytest.mark.slow
def test_forces_are_minus_the_energy_gradient_at_a_broken_bond_too():
    hot = XTB.model_copy(update={"electronic_temperature": 3000.0})
    atoms = broken_ethane()
    _, forces = evaluate(atoms, hot)
    step, energies = 1e-3, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 2] += sign * step
        energies.append(evaluate(moved, hot)[0])
    assert forces[0, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=2e-4)


@pytest.mark.slow
def test_the_electronic_temperature_is_in_kelvin():
    atoms = broken_ethane()
    api = TBLiteCalculator("GFN2-xTB", atoms.numbers, atoms.positions / 0.529177210544)
    api.set("verbosity", 0)
    api.set("temperature", 3000.0 * kB / Hartree)
    hot = XTB.model_copy(update={"electronic_temperature": 3000.0})
    assert evaluate(atoms, hot)[0] == pytest.approx(api.singlepoint()["energy"] * Hartree, abs=1e-4)
    assert evaluate(atoms)[0] - evaluate(atoms, hot)[0] > 0.05


@pytest.mark.slow
def test_a_label_does_not_depend_on_the_frame_before(tmp_path):
    ethane = molecule("C2H6")
    worker = LabelWorker(XTB, tmp_path)
    try:
        alone = worker.evaluate(ethane)
        worker.evaluate(broken_ethane())
        after = worker.evaluate(ethane)
    finally:
        worker.end()
    assert after.energy == pytest.approx(alone.energy, abs=1e-9)
    np.testing.assert_allclose(after.forces, alone.forces, atol=1e-9)


@pytest.mark.slow
def test_a_torn_hexane_that_tblites_own_mixer_gives_up_is_labelled():
    torn = read(DATA / "torn_hexane.xyz")
    gentle = TBLite(mixer_damping=0.1, max_iterations=1000, cache_api=False, verbosity=0)
    energy, forces = evaluate(torn)
    assert energy == pytest.approx(gentle.get_property("energy", torn), abs=1e-5)
    np.testing.assert_allclose(forces, gentle.get_property("forces", torn), atol=1e-3)


TITANIUM_TETRACHLORIDE = Atoms(  # for which the guess eeq finds -1540 eV
    "TiCl4",
    [
        [-0.64247770, 0.66794725, 0.64961942],
        [0.59412323, 1.94464000, 1.94101743],
        [1.29946753, -1.24940774, -1.22301969],
        [-1.87927836, 1.86956094, -0.67617533],
        [-1.87393198, -0.67945149, 1.90765964],
    ],
)
TETRACHLOROCUPRATE = read(DATA / "tetrachlorocuprate.extxyz")  # ... and gentle mixers 3 meV more


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "method"), [(TITANIUM_TETRACHLORIDE, "GFN1-xTB"), (TETRACHLOROCUPRATE, "GFN2-xTB")]
)
def test_a_label_is_the_state_that_tblite_itself_finds(frame, method):
    state = state_of(frame)._asdict()
    own = TBLite(method=method, electronic_temperature=300.0, cache_api=False, verbosity=0, **state)
    energy, forces = evaluate(frame, XTB.model_copy(update={"method": method}))
    assert energy == pytest.approx(own.get_property("energy", frame), abs=1e-8)
    np.testing.assert_allclose(forces, own.get_property("forces", frame), atol=1e-8)


@pytest.mark.slow
def test_every_setting_of_tblite_that_converges_gives_the_same_label():
    frames = [molecule("C2H6"), broken_ethane(), read(DATA / "torn_hexane.xyz")]
    for frame in frames:
        energy, forces = evaluate(frame)
        n_converged = 0
        for attempt in SCF_ATTEMPTS:
            own = TBLite(electronic_temperature=300.0, cache_api=False, verbosity=0, **attempt)
            try:
                found = own.get_property("energy", frame)
            except CalculationFailed:
                continue
            n_converged += 1
            assert energy == pytest.approx(found, abs=2e-6)
            np.testing.assert_allclose(forces, own.get_property("forces", frame), atol=2e-3)
        assert n_converged >= 2


def test_other_settings_are_tried_only_where_those_before_fail_and_the_last_failure_is_told(
    monkeypatch,
):
    tried, hard = [], 2
    own = TBLite.calculate

    def calculate(self, *arguments):
        tried.append((self.parameters.mixer_damping, self.parameters.max_iterations))
        if len(tried) <= hard:
            raise CalculationFailed(f"SCF not converged in {self.parameters.max_iterations} cycles")
        own(self, *arguments)

    monkeypatch.setattr(TBLite, "calculate", calculate)
    calculator = make_calculator(XTB, None)
    evaluate_frame(calculator, molecule("CH4"), min_distance=0.5)
    evaluate_frame(calculator, molecule("C2H6"), min_distance=0.5)
    assert tried == [(0.4, 250), (0.2, 100), (0.1, 100), (0.4, 250)]
    hard = 100
    with pytest.raises(LabelFailure, match="1000 cycles") as caught:
        evaluate_frame(calculator, molecule("CH4"), min_distance=0.5)
    assert caught.value.kind == "not_converged"


def test_the_frame_itself_stays_as_it_is():
    ethane = molecule("C2H6")
    evaluate(ethane)
    assert ethane.calc is None


@pytest.mark.parametrize(
    ("positions", "message"),
    [([[0, 0, 0], [0, 0, np.nan]], "not finite"), ([[0, 0, 0], [0, 0, 0.3]], "0.300 Å apart")],
)
def test_frames_that_are_not_sane_are_refused(positions, message):
    with pytest.raises(LabelFailure, match=message) as caught:
        evaluate(Atoms("H2", positions))
    assert caught.value.kind == "unphysical"


@pytest.mark.parametrize(
    ("where", "kind"),
    [(70.5, "not_converged"), (60.5, "crashed"), (50.5, "unphysical")],
)
def test_a_failing_calculator_is_classified(fake_labeller, tmp_path, where, kind):
    labeller = Labeller(
        program="ase", calculator=fake_labeller, arguments={"log": str(tmp_path / "log")}
    )
    with pytest.raises(LabelFailure) as caught:
        evaluate(Atoms("H", [[where, 0, 0]]), labeller)
    assert caught.value.kind == kind


@pytest.mark.parametrize("path", ["no_such_module.Thing", "ase.calculators.emt.NoSuch", "Thing"])
def test_a_calculator_that_does_not_exist_is_named(path):
    with pytest.raises(LabelFailure, match=path) as caught:
        make_calculator(Labeller(program="ase", calculator=path), None)
    assert caught.value.kind == "rejected"


BAD = Path(__file__).with_name("bad_calculator.py")


@pytest.fixture
def bad(monkeypatch):
    """Return the labeller that is spoiled in one way."""
    monkeypatch.syspath_prepend(BAD.parent)

    def labeller(mode="good", name="Bad"):
        arguments = {"mode": mode} if name in ("Bad", "EnergyOnly") else {}
        return Labeller(program="ase", calculator=f"bad_calculator.{name}", arguments=arguments)

    return labeller


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("none", "energy: expected a number, got None"),
        ("no forces", r"forces: expected \(4, 3\), got None"),
        ("flat", r"forces: expected \(4, 3\), got \(12,\)"),
        ("short", r"forces: expected \(4, 3\), got \(3, 3\)"),
        ("ragged", r"forces: expected \(4, 3\), got list"),
        ("one energy in a list", r"energy: expected a number, got \(1,\)"),
        ("complex", r"energy: expected a number, got complex \("),
        ("complex forces", r"forces: expected \(4, 3\), got complex numbers"),
        ("text", "energy: expected a number, got str"),
        ("energy only", "Bad does not give what a label needs, an energy and forces"),
    ],
)
def test_a_result_of_another_form_is_named_with_what_was_expected(bad, mode, message):
    with pytest.raises(LabelFailure, match=message) as caught:
        evaluate(molecule("NH3"), bad(mode))
    assert caught.value.kind == "rejected"


def test_a_calculator_without_forces_is_named(bad):
    with pytest.raises(LabelFailure, match="EnergyOnly does not give") as caught:
        evaluate(molecule("NH3"), bad(name="EnergyOnly"))
    assert caught.value.kind == "rejected"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("forty_two", "expected an ASE calculator, got int 42"),
        ("nothing", "expected an ASE calculator, got None"),
        ("ends", "no license on host a7"),
    ],
)
def test_a_function_that_makes_no_calculator_is_named(bad, name, message):
    with pytest.raises(LabelFailure, match=rf"bad_calculator\.{name}.*{message}") as caught:
        make_calculator(bad(name=name), None)
    assert caught.value.kind == "rejected"


def test_a_calculator_that_exits_gives_its_reason(bad):
    with pytest.raises(LabelFailure, match="ended its process: no license on host a7"):
        evaluate(molecule("NH3"), bad("exit"))


def test_a_long_text_is_cut_and_keeps_both_ends(bad):
    with pytest.raises(LabelFailure, match=r"^crashed: RuntimeError: line.*quota exceeded$") as one:
        evaluate(molecule("NH3"), bad("chatty"))
    assert len(str(one.value)) < 320


def test_a_calculator_without_reset_forgets_the_frame_before_all_the_same():
    class NewerKind(BaseCalculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms, properties, system_changes):
            self.atoms, self.results = atoms.copy(), {"energy": float(len(atoms))}

    assert not hasattr(NewerKind, "reset")
    calculator = NewerKind()
    for name in ("CH4", "NH3"):
        reset(calculator)
        assert calculator.get_property("energy", molecule(name)) == len(molecule(name))


def test_methods_differ_in_everything_that_changes_a_label():
    methods = [
        XTB,
        XTB.model_copy(update={"method": "GFN1-xTB"}),
        XTB.model_copy(update={"electronic_temperature": 1000.0}),
        Labeller(program="ase", calculator="ase.calculators.emt.EMT"),
        Labeller(program="ase", calculator="ase.calculators.emt.EMT", arguments={"asap_cutoff": 1}),
    ]
    hashes = {method_of(labeller, ["H", "C"]).hash for labeller in methods}
    assert len(hashes) == len(methods)
    patient = XTB.model_copy(update={"timeout": 1.0, "min_distance": 0.7})
    assert method_of(patient, ["C", "H"]) == method_of(XTB, ["H", "C"])


def test_elements_without_parameters_are_refused():
    with pytest.raises(LabelError, match=r"GFN2-xTB: no parameters for U, only up to Rn"):
        method_of(XTB, ["H", "U"])
    with pytest.raises(LabelFailure, match="No support for elements") as refused:
        evaluate(Atoms("UH", [[0, 0, 0], [0, 0, 2]]), XTB)
    assert refused.value.kind == "rejected"


def test_failures_are_counted_by_kind():
    kinds = ["timed_out", "crashed", "timed_out"]
    assert describe_failures(kinds) == "2 timed_out, 1 crashed"
