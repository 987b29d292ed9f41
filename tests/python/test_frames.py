import numpy as np
import pytest
from alrare.errors import AlrareError, LabelError
from alrare.frames import (
    check_labels,
    frame_key,
    is_isolated_atom,
    is_labelled,
    label_of,
    labelled,
    read_frames,
    stress_of,
    stress_tensor,
    write_frames,
)
from alrare.structure import closest_pair
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
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


def test_an_empty_text_swallows_no_other_key_of_a_frame(tmp_path):
    atoms = labelled(molecule("H2"), -1.0, np.zeros((2, 3)))
    atoms.info |= {"origin": "", "method": "abc"}
    write_frames(tmp_path / "a.extxyz", [atoms])
    (again,) = read_frames(tmp_path / "a.extxyz")
    assert again.info == {"method": "abc"} and label_of(again)[0] == -1.0
    assert atoms.info == {"origin": "", "method": "abc"}


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
    with pytest.raises(AlrareError, match=r"a\.extxyz.*: expected"):
        read_frames(tmp_path / "a.extxyz")
    with pytest.raises(AlrareError, match=r"none\.xyz: no such file"):
        read_frames(tmp_path / "none.xyz")


def test_the_closest_pair_is_found_through_the_boundary_too():
    assert closest_pair(Atoms("H")) == (np.inf, 0, 0)
    pair = Atoms("H3", [[0.1, 0, 0], [5, 0, 0], [9.8, 0, 0]], cell=[10, 10, 10])
    assert closest_pair(pair) == (pytest.approx(4.8), 1, 2)
    pair.pbc = True
    assert closest_pair(pair) == (pytest.approx(0.3), 0, 2)
    wire = Atoms("H", cell=[[0.4, 0, 0], [0, 9, 0], [0, 0, 9]], pbc=[True, False, False])
    assert closest_pair(wire) == (pytest.approx(0.4), 0, 0)
    skewed = Atoms(
        "HH", [[0, 0, 0], [2, 2, 2]], cell=[[5, 0, 0], [4.9, 0.3, 0], [0, 0, 5]], pbc=True
    )
    assert closest_pair(skewed)[1:] == (0, 0)
    assert closest_pair(skewed)[0] == pytest.approx(np.hypot(0.1, 0.3))


def write_water(path, comment, columns="0 0 0 1", *, names="forces:R:3"):
    """Write two frames of one oxygen atom and one hydrogen atom."""
    text = ""
    for k in range(2):
        text += f"2\nProperties=species:S:1:pos:R:3:{names} {comment}\n"
        text += f"O 0 0 0 {columns}\nH 0 0 0.9{k} {columns}\n"
    path.write_text(text)


@pytest.mark.parametrize(
    ("comment", "names", "energy_key", "forces_key"),
    [
        ("REF_energy=-2.5", "REF_forces:R:3", "REF_energy", "REF_forces"),
        ("dft_energy=-2.5", "forces:R:3", "dft_energy", None),
        ("energy=-2.5", "force:R:3", None, "force"),
    ],
)
def test_labels_of_other_names_are_named_and_read(tmp_path, comment, names, energy_key, forces_key):
    path = tmp_path / "a.xyz"
    write_water(path, comment, "1 2 3", names=names)
    with pytest.raises(AlrareError, match=r"a\.xyz, frame 1 \(HO\): expected") as caught:
        check_labels(read_frames(path))
    for key in (energy_key, forces_key):
        assert key is None or key in str(caught.value)
    frames = read_frames(path, energy_key=energy_key, forces_key=forces_key)
    check_labels(frames)
    assert label_of(frames[1])[0] == -2.5
    assert label_of(frames[1])[1].tolist() == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("key", [{"energy_key": "REF_energy"}, {"forces_key": "REF_forces"}])
def test_a_key_that_a_frame_lacks_is_refused_and_nothing_else_taken(tmp_path, key):
    write_water(tmp_path / "a.xyz", "energy=-2.5", "1 2 3")
    (name,) = key.values()
    with pytest.raises(AlrareError, match=rf"a\.xyz, frame 1 \(HO\): expected '{name}'"):
        read_frames(tmp_path / "a.xyz", **key)


def write_cells(path, comment):
    """Write a molecule, a cell whose comment is given, and a single atom in a large cell."""
    columns = "Properties=species:S:1:pos:R:3:forces:R:3"
    box = 'Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T"'
    pair = "O 0 0 0 0 0 1\nH 0 0 0.9 0 0 -1\n"
    path.write_text(
        f"2\n{columns} energy=-1\n{pair}2\n{columns} energy=-2 {box} {comment}\n{pair}"
        f"1\n{columns} energy=-3 {box.replace('4', '40')}\nO 0 0 0 0 0 0\n"
    )


@pytest.mark.parametrize(
    "value", ["1 2 3 4 5 6", "1 6 5 6 2 4 5 4 3", "_JSON [[1, 6, 5], [6, 2, 4], [5, 4, 3]]"]
)
def test_a_stress_of_another_name_and_either_form_is_read(tmp_path, value):
    write_cells(tmp_path / "a.xyz", f'REF_stress="{value}" stress="9 0 0 0 9 0 0 0 9"')
    frames = read_frames(tmp_path / "a.xyz", stress_key="REF_stress")
    check_labels(frames)
    assert stress_of(frames[1]).tolist() == [1, 2, 3, 4, 5, 6]
    assert stress_of(frames[0]) is None and stress_of(frames[2]) is None
    assert stress_tensor(frames[1])[0].tolist() == [1, 6, 5]
    assert stress_of(read_frames(tmp_path / "a.xyz")[1]).tolist() == [9, 9, 9, 0, 0, 0]


def test_a_stress_that_is_missing_or_of_another_shape_is_refused(tmp_path):
    write_cells(tmp_path / "a.xyz", 'REF_stress="1 2 3 4"')
    with pytest.raises(
        AlrareError, match=r"a\.xyz, frame 2 \(HO\): expected a stress of 6 numbers"
    ):
        read_frames(tmp_path / "a.xyz", stress_key="REF_stress")
    with pytest.raises(AlrareError, match=r"frame 2 \(HO\): expected 'dft_stress' as its stress"):
        read_frames(tmp_path / "a.xyz", stress_key="dft_stress")
    cell = Atoms("H", cell=[2, 2, 2], pbc=True)
    for stress, message in (
        (np.zeros(5), "expected a stress of 6 numbers"),
        (np.full(6, np.nan), "its stress must be finite"),
    ):
        with pytest.raises(AlrareError, match=rf"frame 1 \(H\): {message}"):
            check_labels([labelled(cell, -1.0, np.zeros((1, 3)), stress)])


def test_a_frame_that_is_no_cell_has_no_stress_tensor():
    sheet = Atoms("H", cell=[2, 2, 20], pbc=(True, True, False))
    assert stress_tensor(labelled(sheet, -1.0, np.zeros((1, 3)), np.ones(6))) is None


def test_the_energy_is_the_one_whose_gradient_the_forces_are(tmp_path):
    write_water(tmp_path / "a.xyz", "energy=-2.5 free_energy=-2.75", "1 2 3")
    assert label_of(read_frames(tmp_path / "a.xyz")[0])[0] == -2.75


def test_a_fortran_exponent_of_the_energy_is_read(tmp_path):
    write_water(tmp_path / "a.xyz", "energy=-0.939D+04", "1 2 3")
    assert label_of(read_frames(tmp_path / "a.xyz")[0])[0] == -9390.0
    write_water(tmp_path / "a.xyz", "energy=unknown", "1 2 3")
    with pytest.raises(AlrareError, match=r"expected a number as its energy, got 'unknown'"):
        read_frames(tmp_path / "a.xyz")


def test_an_isolated_atom_needs_no_forces_and_may_stand_in_a_large_box(tmp_path):
    alone = Atoms("H", calculator=None)
    alone.calc = SinglePointCalculator(alone, energy=-13.6)
    write_frames(tmp_path / "a.xyz", [alone])
    (read,) = read_frames(tmp_path / "a.xyz")
    check_labels([read])
    assert label_of(read)[0] == -13.6 and not label_of(read)[1].any()
    assert is_isolated_atom(read)
    assert is_isolated_atom(Atoms("H", cell=[20, 20, 20], pbc=True))
    assert not is_isolated_atom(Atoms("C", cell=[3, 3, 3], pbc=True))
    assert not is_isolated_atom(Atoms("C", cell=[3, 20, 20], pbc=[True, False, False]))


def test_dummy_atoms_are_refused_by_their_frame(tmp_path):
    write_frames(tmp_path / "a.xyz", [Atoms("H"), Atoms("XH", positions=np.eye(2, 3))])
    with pytest.raises(AlrareError, match=r"a\.xyz, frame 2 \(HX\): atom 1 is of no known element"):
        read_frames(tmp_path / "a.xyz")


def test_arrays_of_other_programs_are_sent_to_the_conversion(tmp_path):
    np.savez(tmp_path / "a.npz", R=np.zeros(3))
    with pytest.raises(AlrareError, match=r"docs/training\.md shows how to convert"):
        read_frames(tmp_path / "a.npz")
