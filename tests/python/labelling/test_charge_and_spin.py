"""Charge and multiplicity reach every labeller, or are refused by name."""

import numpy as np
import pytest
from alrare.config import Labeller, parse_config
from alrare.electronic_state import state_of
from alrare.errors import AlrareError, ConfigError
from alrare.labelling.batch import label
from alrare.labelling.calculators import evaluate_frame, make_calculator
from alrare.labelling.charge_and_spin import set_state
from alrare.labelling.dftb.engines import Engine
from alrare.labelling.dftb.run import write_input
from alrare.labelling.failures import LabelFailure
from alrare.labelling.store import STORE_FILE, LabelStore
from alrare.selection.augment import noisy_copies
from alrare.structure import load_structure
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write
from tblite.ase import TBLite

XTB = Labeller()
DFTB = Labeller(program="dftb+", slater_koster="/skf")


def ammonium(**info):
    frame = molecule("CH4")
    frame.numbers[0] = 7
    frame.positions *= 0.95
    frame.info.update(info)
    return frame


def tblites(atoms, **settings):
    calculator = TBLite(method="GFN2-xTB", verbosity=0, **settings)
    frame = Atoms(atoms.numbers, atoms.positions)
    return calculator.get_property("energy", frame), calculator.get_property("forces", frame)


@pytest.mark.parametrize(
    ("frame", "settings"),
    [
        (ammonium(charge=1), {"charge": 1}),
        (ammonium(), {"charge": 0}),
        (molecule("O2"), {"multiplicity": 3}),
        (Atoms("CO2", molecule("CO2").positions, info={"charge": -1}), {"charge": -1}),
    ],
)
def test_tblite_computes_the_charge_and_multiplicity_of_the_frame(frame, settings):
    energy, forces = evaluate_frame(make_calculator(XTB, None), frame, min_distance=0.5)
    known, known_forces = tblites(frame, **settings)
    assert energy == pytest.approx(known, abs=1e-6)
    np.testing.assert_allclose(forces, known_forces, atol=1e-4)  # of the self-consistency


def test_a_neutral_frame_after_a_charged_one_is_neutral():
    calculator = make_calculator(XTB, None)
    for frame in (ammonium(charge=1), molecule("NH3")):
        calculator.reset()
        energy, _ = evaluate_frame(calculator, frame, min_distance=0.5)
    assert energy == pytest.approx(tblites(molecule("NH3"))[0], abs=1e-6)


@pytest.mark.slow
def test_two_charge_states_have_labels_of_their_own_which_say_their_charge(tmp_path):
    frames = [ammonium(charge=1), ammonium()]
    done = label(frames, labeller=XTB, folder=tmp_path, workers=1)
    assert len(done.keys) == 2
    with LabelStore(tmp_path / STORE_FILE) as store:
        ion, radical = store.frames(done.keys)
    assert (state_of(ion), state_of(radical)) == ((1, 1), (0, 2))
    assert radical.get_potential_energy() - ion.get_potential_energy() < -2.0
    again = label(frames[:1], labeller=XTB, folder=tmp_path, charge=0)
    assert (again.reused, again.keys) == (1, done.keys[:1])


@pytest.mark.slow
def test_frames_that_state_none_have_the_charge_that_is_given_but_single_atoms(tmp_path):
    done = label([ammonium(), Atoms("C")], labeller=XTB, folder=tmp_path, workers=1, charge=1)
    with LabelStore(tmp_path / STORE_FILE) as store:
        assert [state_of(frame).charge for frame in store.frames(done.keys)] == [1, 0]


def test_a_frame_that_contradicts_itself_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(AlrareError, match=r"frame 2 \(H4N\): .*cannot have that"):
        label([ammonium(), ammonium(charge=1, spin=2)], labeller=XTB, folder=tmp_path)
    assert not (tmp_path / "failed").exists()


def test_dftb_has_the_charge_in_its_input_and_refuses_spin(tmp_path):
    write_input(DFTB, ammonium(charge=1), tmp_path, driver="{}", results=True)
    assert "\n  Charge = 1\n" in (tmp_path / "dftb_in.hsd").read_text()
    write_input(DFTB, ammonium(), tmp_path, driver="{}", results=True)
    assert "Charge" not in (tmp_path / "dftb_in.hsd").read_text()
    with pytest.raises(LabelFailure, match=r"O2: .*multiplicity 3: DFTB\+ .* spin polarization"):
        write_input(DFTB, molecule("O2"), tmp_path, driver="{}", results=True)
    own = DFTB.model_copy(update={"hamiltonian": "Charge = -1"})
    with pytest.raises(LabelFailure, match="`hamiltonian` sets a `Charge`, too"):
        write_input(own, ammonium(charge=1), tmp_path, driver="{}", results=True)


def test_an_engine_of_dftb_serves_one_charge():
    class Process:
        def send_signal(self, _):
            pass

        def wait(self):
            pass

    class Connection:
        def close(self):
            pass

    engine = Engine(ammonium(charge=1), Process(), Connection())
    assert engine.fits(ammonium(charge=1))
    assert not engine.fits(ammonium())


class Takes:
    """A calculator with parameters."""

    def __init__(self, **parameters):
        self.parameters = parameters

    def set(self, **changed):
        self.parameters |= changed


class Fixed(Takes):
    """A calculator whose parameters are given when it is made."""

    def set(self, **changed):
        raise RuntimeError("No setting parameters for now")


def test_a_calculator_with_parameters_for_them_receives_charge_and_multiplicity():
    orca = Takes(charge=0, mult=1)
    set_state(orca, {}, ammonium(charge=1))
    assert orca.parameters == {"charge": 1, "mult": 1}
    set_state(orca, {}, molecule("O2"))
    assert orca.parameters == {"charge": 0, "mult": 3}
    set_state(orca, {}, Atoms("CH3"))
    assert orca.parameters == {"charge": 0, "mult": 2}
    untouched = Takes(charge=None, multiplicity=None)
    set_state(untouched, {}, Atoms("CH3"))
    assert untouched.parameters == {"charge": None, "multiplicity": None}


@pytest.mark.parametrize("calculator", [EMT(), Fixed(charge=0, mult=1)])
def test_a_calculator_that_takes_none_is_refused_by_name(calculator):
    set_state(calculator, {}, Atoms("CH4"))
    name = type(calculator).__name__
    with pytest.raises(LabelFailure, match=f"charge 1, and {name} takes no `charge`") as caught:
        set_state(calculator, {}, ammonium(charge=1))
    assert caught.value.kind == "rejected"
    with pytest.raises(LabelFailure, match=f"{name} takes no `mult"):
        set_state(calculator, {}, molecule("O2"))


def test_what_the_arguments_fix_must_be_what_the_frame_has():
    fixed = Fixed(charge=1)
    set_state(fixed, {"charge": 1}, ammonium(charge=1))
    with pytest.raises(LabelFailure, match="the frame has charge 0, but arguments give charge = 1"):
        set_state(fixed, {"charge": 1}, molecule("NH3"))


def test_an_argument_that_is_no_number_is_left_to_the_calculator_of_neutral_frames():
    automatic = Takes(charge="auto")
    set_state(automatic, {"charge": "auto"}, molecule("NH3"))
    assert automatic.parameters == {"charge": "auto"}
    with pytest.raises(LabelFailure, match="takes no `charge`"):
        set_state(automatic, {"charge": "auto"}, ammonium(charge=1))


def test_a_calculator_that_reads_the_frame_itself_says_so():
    reader = EMT()
    reader.reads_electronic_state = True
    set_state(reader, {}, molecule("O2"))


def settings(tmp_path, frame, **keys):
    write(tmp_path / "ion.extxyz", frame)
    content = {"name": "ion", "structure": "ion.extxyz", "pull": {"atoms": [1, 2]}, **keys}
    return parse_config(content, folder=tmp_path, source="al.toml")


def test_a_structure_has_the_charge_of_al_toml_or_of_its_file(tmp_path):
    assert state_of(load_structure(settings(tmp_path, ammonium(), charge=1))) == (1, 1)
    assert state_of(load_structure(settings(tmp_path, ammonium(charge=1)))) == (1, 1)
    assert state_of(load_structure(settings(tmp_path, ammonium()))) == (0, 2)
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])
    assert state_of(load_structure(settings(tmp_path, oxygen, multiplicity=3))) == (0, 3)


def test_al_toml_and_the_file_may_not_contradict_each_other(tmp_path):
    config = settings(tmp_path, ammonium(charge=1), charge=-1)
    with pytest.raises(ConfigError, match=r"charge = -1: but structure = .* states 1"):
        load_structure(config)
    with pytest.raises(ConfigError, match="10 electrons cannot have that"):
        load_structure(settings(tmp_path, ammonium(charge=1), multiplicity=2))


def test_the_arguments_of_a_calculator_state_a_charge_too(tmp_path):
    def labeller(**arguments):
        return {"program": "ase", "calculator": "a.B", "arguments": arguments}

    config = settings(tmp_path, ammonium(), labeller=labeller(charge=1, mult=1))
    assert (config.charge, config.multiplicity) == (1, 1)
    assert state_of(load_structure(config)) == (1, 1)
    with pytest.raises(ConfigError, match=r"charge = -1: but arguments give 1 \(\[labeller\]\)"):
        settings(tmp_path, ammonium(), charge=-1, labeller=labeller(charge=1))


def test_noisy_copies_have_the_charge_of_the_frame():
    rng = np.random.default_rng(1)
    copies = noisy_copies([ammonium(charge=1)], copies=2, amplitude=0.1, rng=rng)
    assert [state_of(copy) for copy in copies] == [(1, 1), (1, 1)]
    assert all(copy.info["copy_of"] == 0 for copy in copies)
