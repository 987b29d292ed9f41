"""Charge and multiplicity: every way in which files state them, and what contradicts itself."""

import numpy as np
import pytest
from alrare.electronic_state import (
    ElectronicState,
    check_whole,
    configuration,
    state_of,
    with_state,
)
from alrare.errors import AlrareError
from alrare.frames import frame_key, read_frames, write_frames
from ase import Atoms
from ase.build import molecule


def ammonium(**info):
    frame = molecule("CH4")
    frame.numbers[0] = 7
    frame.info.update(info)
    return frame


def test_a_frame_that_states_nothing_is_neutral_with_the_lowest_multiplicity():
    assert state_of(Atoms(molecule("CH4").numbers)) == (0, 1)
    assert state_of(Atoms("CH3")) == (0, 2)


@pytest.mark.parametrize("key", ["charge", "total_charge", "net_charge", "q", "Charge"])
def test_a_charge_is_read_from_info(key):
    assert state_of(ammonium(**{key: 1.0})) == ElectronicState(1, 1)
    assert state_of(ammonium(**{key: np.int64(1)})).charge == 1


@pytest.mark.parametrize("key", ["multiplicity", "spin_multiplicity", "spin", "mult", "Spin"])
def test_a_multiplicity_is_read_from_info(key):
    assert state_of(Atoms("O2", info={key: 3})).multiplicity == 3


@pytest.mark.parametrize("key", ["uhf", "unpaired_electrons", "UHF"])
def test_a_number_of_unpaired_electrons_is_read_from_info(key):
    assert state_of(Atoms("O2", info={key: 2})).multiplicity == 3
    with pytest.raises(AlrareError, match="plus 1, says 3"):
        state_of(Atoms("O2", info={key: 2, "multiplicity": 1}))


def test_a_quadrupole_is_no_charge():
    assert state_of(Atoms("H2O", info={"Q": [1.0, 2.0, 3.0]})) == (0, 1)


def test_charge_and_spin_are_read_from_sums_over_the_atoms():
    ion = ammonium()
    ion.set_initial_charges([-0.6, 0.4, 0.4, 0.4, 0.4])
    assert state_of(ion) == (1, 1)
    assert state_of(molecule("O2")) == (0, 3)  # ASE gives it two magnetic moments of 1


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"charge": 1, "total_charge": -1}, r"info\['charge'\] says 1, info\['total_charge'\]"),
        ({"charge": 0.5}, "expected a whole number"),
        ({"charge": "plus"}, "expected a whole number"),
        ({"charge": 1, "multiplicity": 2}, "10 electrons cannot have that"),
        ({"charge": 12}, "-1 electrons"),
        ({"total_spin": 0}, r"total_spin'\] = 0: it may be S, 2S or 2S \+ 1; state multiplicity"),
        ({"q": 0.4}, "q'] = 0.4: expected a whole number, .* rename the key"),
        ({"multiplicity": 0}, "cannot have that"),
        ({"charge": 1, "spin": 0, "multiplicity": 3}, "expected one multiplicity"),
        ({"charge": 1, "spin": 2}, "number of unpaired electrons plus 1"),
    ],
)
def test_contradictions_are_refused(info, message):
    with pytest.raises(AlrareError, match=message):
        state_of(ammonium(**info))


def test_a_charge_that_differs_from_that_of_the_atoms_is_refused():
    ion = ammonium(charge=-1)
    ion.set_initial_charges([1, 0, 0, 0, 0])
    with pytest.raises(AlrareError, match="says -1, the sum of the initial charges says 1"):
        state_of(ion)


def test_a_spin_of_0_is_no_unpaired_electron_and_refused_for_an_odd_number():
    assert state_of(Atoms("CH4", info={"spin": 0})) == (0, 1)
    with pytest.raises(AlrareError, match="CH3: charge 0, multiplicity 1: 9 electrons cannot"):
        state_of(Atoms("CH3", info={"spin": 0}))


@pytest.mark.parametrize("moments", [[1.0, -1.0], [2.3, 2.3], [[0, 0, 1.0], [0, 0, 1.0]]])
def test_moments_that_are_more_than_a_total_spin_are_refused(moments):
    frame = Atoms("Fe2", [[0, 0, 0], [0, 0, 2]])
    frame.set_initial_magnetic_moments(moments)
    with pytest.raises(AlrareError, match="initial magnetic moments"):
        check_whole(frame)


def test_a_state_survives_writing_and_reading(tmp_path):
    ion = with_state(ammonium(), ElectronicState(1, 1))
    write_frames(tmp_path / "ion.extxyz", [ion, configuration(molecule("O2"))])
    read, oxygen = read_frames(tmp_path / "ion.extxyz")
    assert (state_of(read), state_of(oxygen)) == ((1, 1), (0, 3))
    assert frame_key(read, "m") == frame_key(ion, "m")


def test_keys_of_neutral_frames_of_lowest_multiplicity_are_those_of_before():
    water = Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    key = frame_key(water, "method")
    assert key == "f84b13a7bd158d230420f59cd0154d739699b03ea59752dc3cd9c0fd7d4300da"
    water.info.update(charge=0, multiplicity=1)
    assert frame_key(water, "method") == key
    water.info.update(charge=0, multiplicity=3)
    assert frame_key(water, "method") != key
    water.info = {"charge": 2}
    assert frame_key(water, "method") != key


def test_the_lowest_neutral_state_is_not_written():
    assert with_state(molecule("O2"), ElectronicState(0, 1)).info == {}
    assert not with_state(molecule("O2"), ElectronicState(0, 3)).has("initial_magmoms")
    assert with_state(ammonium(Net_Charge=1, uhf=0, q=1), ElectronicState(1, 1)).info == {
        "charge": 1,
        "multiplicity": 1,
    }
