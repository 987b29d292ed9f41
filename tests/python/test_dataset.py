"""Splits keep their promises; labels are checked before anything trains on them."""

import numpy as np
import pytest
from alrare.dataset import (
    Split,
    dataset_hash,
    fit_self_energies,
    inherited_split,
    make_dataset,
    random_split,
)
from alrare.errors import AlrareError
from alrare.frames import labelled
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)


@given(st.integers(2, 300), fractions, seeds)
def test_a_random_split_gives_every_configuration_one_role(
    n: int, fraction: float, seed: int
) -> None:
    split = random_split(n, train_fraction=fraction, rng=np.random.default_rng(seed))
    assert sorted((*split.train, *split.validation)) == list(range(n))
    assert len(split) == n
    assert split.train and split.validation
    assert abs(len(split.train) - fraction * n) <= 1
    assert split == random_split(n, train_fraction=fraction, rng=np.random.default_rng(seed))
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


def frame(energy: float = -1.0, force: float = 0.0, name: str = "CH4") -> Atoms:
    atoms = molecule(name)
    return labelled(atoms, energy, np.full((len(atoms), 3), force))


def test_elements_are_those_of_the_data_by_atomic_number() -> None:
    dataset = make_dataset([frame(name="CH4"), frame(name="H2O"), frame(name="CH4")])
    assert dataset.elements == ("H", "C", "O")
    assert dataset.n_atoms.tolist() == [5, 3, 5]


def test_bad_frames_are_named() -> None:
    with pytest.raises(AlrareError, match=r"frame 1 \(CH4\): expected an energy and forces"):
        make_dataset([frame(), molecule("CH4")])
    with pytest.raises(AlrareError, match=r"frame 1 \(CH4\): its energy must be finite"):
        make_dataset([frame(), frame(energy=np.nan)])
    with pytest.raises(AlrareError, match=r"frame 0 \(CH4\): its forces must be finite"):
        make_dataset([frame(force=np.inf), frame()])
    broken = frame()
    broken.positions[2, 1] = np.nan
    with pytest.raises(AlrareError, match=r"frame 1 \(CH4\): its positions must be finite"):
        make_dataset([frame(), broken])
    for few in ([], [frame()]):
        with pytest.raises(AlrareError, match=f"at least 2 labelled frames, got {len(few)}"):
            make_dataset(few)


def test_the_hash_sees_labels_and_order() -> None:
    first = make_dataset([frame(-1.0), frame(-2.0)])
    other = make_dataset([frame(-1.0), frame(-2.0, force=0.1)])
    assert dataset_hash(["a", "b"], first) == dataset_hash(["a", "b"], first)
    assert dataset_hash(["a", "b"], first) != dataset_hash(["b", "a"], first)
    assert dataset_hash(["a", "b"], first) != dataset_hash(["a", "b"], other)
