import numpy as np
import pytest
from alrare.errors import AlrareError, LabelError
from alrare.frames import (
    closest_pair,
    frame_key,
    is_labelled,
    label_of,
    labelled,
    read_frames,
    write_frames,
)
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st


def test_labels_survive_the_file(tmp_path):
    ethane = molecule("C2H6")
    forces = np.arange(24.0).reshape(8, 3) / 7
    write_frames(tmp_path / "a.extxyz", [labelled(ethane, -1 / 3, forces)] * 2)
    first, _ = read_frames(tmp_path / "a.extxyz")
    energy, read = label_of(first)
    assert energy == pytest.approx(-1 / 3, abs=1e-8)
    np.testing.assert_allclose(read, forces, atol=1e-8)


@pytest.mark.slow
@given(st.lists(st.floats(-500, 500), min_size=3, max_size=30).filter(lambda x: len(x) % 3 == 0))
def test_the_key_survives_the_file(tmp_path_factory, values):
    atoms = Atoms("H" * (len(values) // 3), np.reshape(values, (-1, 3)))
    path = tmp_path_factory.mktemp("frames") / "a.extxyz"
    write_frames(path, [atoms])
    assert frame_key(read_frames(path)[0], "m") == frame_key(atoms, "m")


def test_the_key_depends_on_species_positions_and_method_only():
    ethane = molecule("C2H6")
    key = frame_key(ethane, "m")
    boxed = ethane.copy()
    boxed.cell, boxed.info["step"] = [50, 50, 50], 3
    assert frame_key(labelled(boxed, 1.0, np.zeros((8, 3))), "m") == key
    moved, other = ethane.copy(), ethane.copy()
    moved.positions[3, 1] += 1e-6
    other.numbers[0] = 7
    periodic = Atoms(boxed.numbers, boxed.positions, cell=boxed.cell, pbc=True)
    keys = {key, *(frame_key(a, "m") for a in (moved, other, periodic)), frame_key(ethane, "n")}
    assert len(keys) == 5


def test_a_frame_that_is_no_number_has_no_key():
    with pytest.raises(LabelError, match="not finite"):
        frame_key(Atoms("H", [[0, np.nan, 0]]), "m")


def test_an_unlabelled_frame_is_never_evaluated_on_the_way():
    ethane = molecule("C2H6")
    assert not is_labelled(ethane)
    with pytest.raises(AlrareError, match="expected a labelled frame"):
        label_of(ethane)


@pytest.mark.parametrize("content", ["", "3\nnonsense\n", "not a structure"])
def test_a_file_that_is_no_structure_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.extxyz").write_text(content)
    with pytest.raises(AlrareError, match=r"a\.extxyz: expected"):
        read_frames(tmp_path / "a.extxyz")
    with pytest.raises(AlrareError, match=r"none\.xyz: no such file"):
        read_frames(tmp_path / "none.xyz")


def test_the_closest_pair_is_found_through_the_boundary_too():
    assert closest_pair(Atoms("H")) == (np.inf, 0, 0)
    pair = Atoms("H3", [[0.1, 0, 0], [5, 0, 0], [9.8, 0, 0]], cell=[10, 10, 10])
    assert closest_pair(pair) == (pytest.approx(4.8), 1, 2)
    pair.pbc = True
    assert closest_pair(pair) == (pytest.approx(0.3), 0, 2)
