import zlib

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.exploration.journal import Journal
from ase import Atoms


def frame(x):
    return Atoms("CH", [[x, 0, 0], [x, 1.1, 0]])


def write(path, n):
    with Journal(path, 2) as journal:
        for x in range(n):
            assert journal.replay(frame(x)) is None
            journal.append(frame(x), x / 3, np.full((2, 3), x / 7))


def replayed(path, n):
    with Journal(path, 2) as journal:
        answers = [journal.replay(frame(x)) for x in range(n)]
    return [answer for answer in answers if answer is not None]


def test_answers_come_back_in_order_to_the_last_bit(tmp_path):
    write(tmp_path / "j", 5)
    answers = replayed(tmp_path / "j", 7)
    assert [answer.energy for answer in answers] == [x / 3 for x in range(5)]
    np.testing.assert_array_equal(answers[4][1], np.full((2, 3), 4 / 7))


def test_a_journal_goes_on_where_it_ended(tmp_path):
    write(tmp_path / "j", 3)
    with Journal(tmp_path / "j", 2) as journal:
        assert len(journal) == 3
        for x in range(3):
            assert journal.replay(frame(x)) is not None
        assert journal.replay(frame(3)) is None
        journal.append(frame(3), 1.0, np.zeros((2, 3)))
    assert len(replayed(tmp_path / "j", 9)) == 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "other size"])
def test_what_is_damaged_is_dropped_with_all_after_it(tmp_path, damage):
    path = tmp_path / "j"
    write(path, 5)
    content = bytearray(path.read_bytes())
    record = (len(content) - 16) // 5
    if damage == "cut":
        content = content[:-3]
    elif damage == "flipped":
        content[16 + 4 * record + 20] ^= 1
    elif damage == "foreign":
        content[0] ^= 1
    else:
        content[8] += 1
    path.write_bytes(content)
    left = 4 if damage in ("cut", "flipped") else 0
    assert len(replayed(path, 5)) == left
    assert path.stat().st_size == 16 + left * record


def test_another_path_of_the_run_ends_the_journal(tmp_path):
    write(tmp_path / "j", 5)
    with Journal(tmp_path / "j", 2) as journal:
        assert journal.replay(frame(0)) is not None
        assert journal.replay(frame(1.5)) is None
        assert journal.replay(frame(2)) is None
        journal.append(frame(1.5), 0.0, np.zeros((2, 3)))
    with Journal(tmp_path / "j", 2) as journal:
        assert len(journal) == 2


def test_a_cell_counts_like_the_positions_and_its_stress_comes_back(tmp_path):
    cell = Atoms("CH", [[0, 0, 0], [0, 1.1, 0]], cell=[5.0, 6.0, 7.0], pbc=True)
    wider = cell.copy()
    wider.cell[0, 0] += 1e-12
    stress = np.arange(6.0) / 7
    for answer in (stress, None):
        with Journal(tmp_path / "j", 2, periodic=True) as journal:
            journal.append(cell, 1.0, np.ones((2, 3)), answer)
            journal.append(cell, 2.0, np.ones((2, 3)), answer)
        with Journal(tmp_path / "j", 2, periodic=True) as journal:
            np.testing.assert_equal(journal.replay(cell).stress, answer)
            assert journal.replay(wider) is None
        (tmp_path / "j").unlink()


def test_a_journal_of_a_molecule_is_that_of_former_versions(tmp_path):
    record = np.zeros(
        (), dtype=[("check", "<u4"), ("step", "<u4"), ("energy", "<f8"), ("forces", "<f8", (2, 3))]
    )
    record["step"], record["energy"] = zlib.crc32(frame(0).positions.tobytes()), 1 / 3
    record["check"] = zlib.crc32(record.tobytes()[4:])
    (tmp_path / "j").write_bytes(b"ALRAREJ1" + (2).to_bytes(8, "little") + record.tobytes())
    ((energy, forces, stress),) = replayed(tmp_path / "j", 1)
    assert (energy, stress) == (1 / 3, None) and forces.shape == (2, 3)


def test_a_disk_that_refuses_is_named(tmp_path):
    (tmp_path / "j").mkdir()
    with pytest.raises(AlrareError, match="j: could not be read or written"):
        Journal(tmp_path / "j", 2)
