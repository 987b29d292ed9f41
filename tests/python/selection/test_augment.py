"""Noisy copies."""

import numpy as np
from alrare.frames import is_labelled, labelled
from alrare.selection.augment import noisy_copies
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 4),
    copies=st.integers(0, 3),
    amplitude=st.floats(0.0, 0.2),
    seed=st.integers(0, 2**32 - 1),
)
def test_noise_is_within_the_amplitude_and_changes_nothing_else(
    n: int, copies: int, amplitude: float, seed: int
) -> None:
    frames = [Atoms("CH", positions=[[0, 0, k], [1, 0, k]], cell=[9, 9, 9]) for k in range(n)]
    before = [frame.positions.copy() for frame in frames]
    made = noisy_copies(frames, copies=copies, amplitude=amplitude, rng=np.random.default_rng(seed))
    assert [copy.info["copy_of"] for copy in made] == [k for k in range(n) for _ in range(copies)]
    for copy in made:
        parent = frames[copy.info["copy_of"]]
        assert np.abs(copy.positions - parent.positions).max() <= amplitude + 1e-12
        assert (copy.numbers == parent.numbers).all()
        assert (copy.cell.array == parent.cell.array).all() and not copy.pbc.any()
    for frame, positions in zip(frames, before, strict=True):
        assert (frame.positions == positions).all()


def test_the_noise_is_uniform_on_every_coordinate() -> None:
    frame = Atoms("C20", positions=np.zeros((20, 3)))
    made = noisy_copies([frame], copies=500, amplitude=0.05, rng=np.random.default_rng(3))
    noise = np.array([copy.positions for copy in made]).ravel()
    assert abs(noise.mean()) < 1e-3
    assert abs(noise.std() - 0.05 / np.sqrt(3)) < 1e-3
    assert noise.min() < -0.0499 and noise.max() > 0.0499


def test_the_same_generator_gives_the_same_copies() -> None:
    frame = Atoms("CH", positions=[[0, 0, 0], [1, 0, 0]])
    one, two = (
        noisy_copies([frame], copies=2, amplitude=0.05, rng=np.random.default_rng(7))
        for _ in range(2)
    )
    assert all((a.positions == b.positions).all() for a, b in zip(one, two, strict=True))
    assert (one[0].positions != one[1].positions).any()


def test_a_copy_does_not_carry_the_label_of_its_parent() -> None:
    frame = labelled(Atoms("H", positions=[[0, 0, 0]]), -1.0, np.zeros((1, 3)))
    (copy,) = noisy_copies([frame], copies=1, amplitude=0.05, rng=np.random.default_rng(0))
    assert not is_labelled(copy)
