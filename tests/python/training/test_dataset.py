"""Splits keep their promises; labels are checked before anything trains on them."""

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import common_method, labelled
from alrare.training.dataset import (
    Split,
    dataset_hash,
    distinct_frames,
    fit_self_energies,
    fit_shifts,
    inherited_split,
    make_dataset,
    random_split,
    split_off_isolated_atoms,
)
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)


@given(st.integers(2, 300), st.integers(0, 3), fractions, seeds)
def test_a_random_split_gives_every_configuration_one_role(
    free: int, fixed: int, fraction: float, seed: int
) -> None:
    def split_again() -> Split:
        rng = np.random.default_rng(seed)
        return random_split(free + fixed, train_fraction=fraction, rng=rng, fixed=fixed)

    split = split_again()
    assert sorted((*split.train, *split.validation)) == list(range(free + fixed))
    assert len(split) == free + fixed
    assert split.train[:fixed] == tuple(range(fixed))
    assert split.train[fixed:] and split.validation
    assert abs(len(split.train) - fixed - fraction * free) <= 1
    assert split == split_again()
    assert Split.from_dict(split.to_dict()) == split


@given(st.integers(2, 100), st.integers(0, 100), fractions, seeds)
def test_an_inherited_split_moves_no_old_configuration(
    old_n: int, n_new: int, fraction: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    old = random_split(old_n, train_fraction=0.8, rng=rng)
    new = inherited_split(old, old_n + n_new, train_fraction=fraction, rng=rng)
    assert set(old.train) <= set(new.train)
    assert set(old.validation) <= set(new.validation)
    assert sorted((*new.train, *new.validation)) == list(range(old_n + n_new))
    assert abs(len(new.train) - len(old.train) - fraction * n_new) <= 0.5


def test_members_get_different_splits() -> None:
    rng = np.random.default_rng(1)
    splits = [random_split(100, train_fraction=0.8, rng=rng) for _ in range(3)]
    assert len(set(splits)) == 3
    inherited = [inherited_split(splits[0], 150, train_fraction=0.8, rng=rng) for _ in range(3)]
    assert len(set(inherited)) == 3


def test_splits_refuse_what_cannot_be_split() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(AlrareError, match=r"at least 2 labelled configurations .* got 1"):
        random_split(1, train_fraction=0.8, rng=rng)
    with pytest.raises(AlrareError, match="got 1"):
        random_split(2, train_fraction=0.8, rng=rng, fixed=1)
    with pytest.raises(AlrareError, match="holds 10 configurations, the data set only 9"):
        inherited_split(Split(tuple(range(8)), (8, 9)), 9, train_fraction=0.8, rng=rng)


def test_self_energies_are_recovered_from_several_compositions() -> None:
    composition = np.array([[4, 1], [6, 2], [4, 2], [2, 2]])
    assert fit_self_energies(composition, composition @ [-13.0, -1030.0]) == pytest.approx(
        [-13.0, -1030.0]
    )


def test_one_stoichiometry_still_centers_the_energies() -> None:
    composition = np.array([[14, 6]] * 5)
    energies = -420.0 + np.linspace(-1, 1, 5)
    left = energies - composition @ fit_self_energies(composition, energies)
    assert left.mean() == pytest.approx(0)
    assert np.ptp(left) == pytest.approx(2)


def test_a_few_configurations_do_not_move_the_shift_between_two_methods() -> None:
    composition = np.array([[4, 1]] * 9 + [[6, 2]] * 7 + [[8, 3]])
    differences = composition @ np.array([0.4, -120.0])
    differences[[0, 3, 11]] += 50.0  # the methods disagree on these
    assert fit_shifts(composition, differences) == pytest.approx([0.4, -120.0])
    (shift,) = set((composition[:9] @ fit_shifts(composition[:9], differences[:9])).round(9))
    assert shift == pytest.approx(4 * 0.4 - 120.0)  # one composition: what it determines


def test_isolated_atoms_leave_the_binding_energy_to_be_shared() -> None:
    own = np.array([-13.0, -38.0])
    composition = np.array([[14, 6]] * 5)
    energies = composition @ own - 81.0 + np.linspace(-1, 1, 5)
    fitted = fit_self_energies(composition, energies, isolated=own)
    left = energies - composition @ fitted
    assert left.mean() == pytest.approx(0, abs=1e-3)
    assert fitted - own == pytest.approx(np.array([14, 6]) * -81.0 / (14**2 + 6**2), rel=1e-4)


def test_isolated_atoms_yield_to_what_the_data_determine() -> None:
    composition = np.array([[4, 1], [6, 2], [4, 2], [2, 2]])
    energies = composition @ [-13.0, -1030.0]
    fitted = fit_self_energies(composition, energies, isolated=np.array([-12.0, -1028.0]))
    assert fitted == pytest.approx([-13.0, -1030.0], abs=1e-3)


def test_a_chain_carries_over_to_a_longer_one() -> None:
    own, bonds = np.array([-13.0, -38.0]), -4.0  # every atom binds with the same energy
    composition = np.array([[14, 6]] * 3)
    energies = composition @ (own + bonds)
    fitted = fit_self_energies(composition, energies, isolated=own)
    longer = np.array([22, 10])
    assert longer @ fitted == pytest.approx(longer @ (own + bonds), rel=0.01)
    plain = fit_self_energies(composition, energies)
    assert abs(longer @ plain - longer @ (own + bonds)) > 5 * abs(
        longer @ fitted - longer @ (own + bonds)
    )


def test_frames_of_one_atom_are_isolated_atoms() -> None:
    atom = labelled(Atoms("C"), -38.0, np.zeros((1, 3)))
    others, energies = split_off_isolated_atoms([frame(), atom, frame(-2.0)])
    assert len(others) == 2 and energies == {"C": -38.0}
    contrary = labelled(Atoms("C"), -39.0, np.zeros((1, 3)))
    with pytest.raises(AlrareError, match="isolated C atoms with energies -38 and -39"):
        split_off_isolated_atoms([atom, contrary])
    with pytest.raises(AlrareError, match="expected one for each of H, C, got none for H"):
        make_dataset(others, isolated=energies)


def test_a_configuration_that_comes_twice_counts_once() -> None:
    moved = frame(-2.0)
    moved.positions += 0.1
    assert distinct_frames([frame(), moved, frame()]) == [frame(), moved]
    with pytest.raises(AlrareError, match=r"frame 3 .* the same .* frame 1 .* differ by -0\.5 eV"):
        distinct_frames([frame(), moved, frame(-1.5)])


def frame(energy: float = -1.0, force: float = 0.0, name: str = "CH4") -> Atoms:
    atoms = molecule(name)
    return labelled(atoms, energy, np.full((len(atoms), 3), force))


def test_elements_are_those_of_the_data_by_atomic_number() -> None:
    dataset = make_dataset([frame(name="CH4"), frame(name="H2O"), frame(name="CH4")])
    assert dataset.elements == ("H", "C", "O")
    assert dataset.n_atoms.tolist() == [5, 3, 5]


def test_bad_frames_are_named() -> None:
    with pytest.raises(AlrareError, match=r"frame 2 \(CH4\): expected an energy and forces"):
        make_dataset([frame(), molecule("CH4")])
    with pytest.raises(AlrareError, match=r"frame 2 \(CH4\): its energy must be finite"):
        make_dataset([frame(), frame(energy=np.nan)])
    with pytest.raises(AlrareError, match=r"frame 1 \(CH4\): its forces must be finite"):
        make_dataset([frame(force=np.inf), frame()])
    energy_only = molecule("CH4")
    energy_only.calc = SinglePointCalculator(energy_only, energy=-1.0)
    with pytest.raises(AlrareError, match=r"frame 2 \(CH4\): .* got only energy; label it first"):
        make_dataset([frame(), energy_only])
    broken = frame()
    broken.positions[2, 1] = np.nan
    with pytest.raises(AlrareError, match=r"frame 2 \(CH4\): its positions must be finite"):
        make_dataset([frame(), broken])
    for few in ([], [frame()]):
        with pytest.raises(AlrareError, match=f"at least 2 labelled frames, got {len(few)}"):
            make_dataset(few)


def test_labels_of_two_methods_are_refused() -> None:
    frames = [molecule("CH4") for _ in range(3)]
    assert common_method(frames) == ""
    frames[1].info["method"] = "a" * 64
    assert common_method(frames) == "a" * 64
    frames[2].info["method"] = "b" * 64
    with pytest.raises(
        AlrareError, match=r"one method, got 2: a{16} in frame 2 \(CH4\), b{16} in frame 3"
    ):
        common_method(frames)


def test_two_charge_states_of_one_composition_are_not_trained_together() -> None:
    neutral, ion = frame(name="NH3"), frame(name="NH3")
    ion.info["charge"] = 1
    with pytest.raises(
        AlrareError, match=r"frame 1 \(H3N\) has charge 0, .*frame 3 \(H3N\) has charge \+1"
    ):
        make_dataset([neutral, frame(name="CH4"), ion])
    make_dataset([neutral, frame(name="CH4")])
    make_dataset([ion, frame(name="CH4")])


def test_the_hash_sees_labels_and_order() -> None:
    first = make_dataset([frame(-1.0), frame(-2.0)])
    other = make_dataset([frame(-1.0), frame(-2.0, force=0.1)])
    assert dataset_hash(["a", "b"], first) == dataset_hash(["a", "b"], first)
    assert dataset_hash(["a", "b"], first) != dataset_hash(["b", "a"], first)
    assert dataset_hash(["a", "b"], first) != dataset_hash(["a", "b"], other)
