import contextlib
import sqlite3

import numpy as np
import pytest
from alrare.electronic_state import ElectronicState, state_of, with_state
from alrare.errors import AlrareError
from alrare.labelling.store import LabelStore
from ase import Atoms
from ase.build import molecule

ETHANE = molecule("C2H6")
FORCES = np.arange(24.0).reshape(8, 3) / 3


def test_a_label_comes_back_to_the_last_bit(tmp_path):
    cell = Atoms("CH", [[0, 1 / 3, 2], [3, 4, 5]], cell=[9, 8, 7], pbc=[True, False, True])
    with LabelStore(tmp_path / "labels" / "labels.sqlite") as store:
        store.put_ok("a", ETHANE, energy=-1 / 3, forces=FORCES, origin="initial")
        stress = np.arange(6.0) / 7
        store.put_ok("b", cell, energy=2.0, forces=np.ones((2, 3)), stress=stress)
    with LabelStore(tmp_path / "labels" / "labels.sqlite") as store:
        second, first = store.frames(["b", "a"])
    assert first.get_potential_energy() == -1 / 3
    np.testing.assert_array_equal(first.get_forces(), FORCES)
    np.testing.assert_array_equal(first.positions, ETHANE.positions)
    assert first.get_chemical_symbols() == ETHANE.get_chemical_symbols()
    assert first.info == {"label": "a", "origin": "initial"}
    np.testing.assert_array_equal(second.cell.array, cell.cell.array)
    assert list(second.pbc) == [True, False, True]
    np.testing.assert_array_equal(second.get_stress(), stress)
    assert "stress" not in first.calc.results


def test_a_good_label_is_never_overwritten(tmp_path):
    with LabelStore(tmp_path / "l.sqlite") as store:
        store.put_failed("a", ETHANE, kind="crashed", reason="died")
        store.put_ok("a", ETHANE, energy=1.0, forces=FORCES)
        store.put_failed("a", ETHANE, kind="timed_out", reason="late")
        store.put_ok("a", ETHANE, energy=2.0, forces=FORCES)
        row = store.get("a")
        assert row is not None
        assert (row.status, row.reason, row.attempts) == ("ok", "", 2)
        assert store.frames(["a"])[0].get_potential_energy() == 1.0


def test_every_label_carries_its_method(tmp_path):
    with LabelStore(tmp_path / "l.sqlite") as store:
        for _ in range(2):
            store.put_method("m1", {"program": "dftb+", "input": ["SCC = Yes"]})
        store.put_ok("a", ETHANE, energy=1.0, forces=FORCES, method="m1")
    with LabelStore(tmp_path / "l.sqlite") as store:
        assert store.frames(["a"])[0].info["method"] == "m1"
        assert store.methods() == {"m1": {"program": "dftb+", "input": ["SCC = Yes"]}}


def test_a_store_from_before_methods_keeps_its_labels(tmp_path):
    names = "key status reason attempts origin seconds numbers positions cell pbc energy forces"
    arrays = (ETHANE.numbers, ETHANE.positions, ETHANE.cell.array)
    row = ("a", "ok", "", 1, "initial", 0.0, *(a.tobytes() for a in arrays), 0, 1.0)
    old = sqlite3.connect(tmp_path / "l.sqlite")
    old.execute(f"CREATE TABLE labels ({', '.join(names.split())}, PRIMARY KEY (key))")
    old.execute(f"INSERT INTO labels VALUES ({', '.join('?' * 12)})", (*row, FORCES.tobytes()))
    old.execute(f"PRAGMA application_id = {0x414C5241}")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    for _ in range(2):
        with LabelStore(tmp_path / "l.sqlite") as store:
            store.put_ok("b", ETHANE, energy=2.0, forces=FORCES, method="m2")
            first, second = store.frames(["a", "b"])
        assert first.get_potential_energy() == 1.0
        assert "method" not in first.info and second.info["method"] == "m2"


def test_a_store_from_before_charges_keeps_its_labels_and_takes_charged_ones(tmp_path):
    names = "key status reason attempts origin seconds numbers positions cell pbc energy forces"
    arrays = (ETHANE.numbers, ETHANE.positions, ETHANE.cell.array)
    row = ("a", "ok", "", 1, "initial", 0.0, *(a.tobytes() for a in arrays), 0, 1.0)
    columns = ", ".join([*names.split(), "method"])
    old = sqlite3.connect(tmp_path / "l.sqlite")
    old.execute(f"CREATE TABLE labels ({columns}, PRIMARY KEY (key))")
    old.execute("CREATE TABLE methods (method TEXT PRIMARY KEY, description TEXT)")
    old.execute(f"INSERT INTO labels VALUES ({', '.join('?' * 13)})", (*row, FORCES.tobytes(), "m"))
    old.execute(f"PRAGMA application_id = {0x414C5241}")
    old.execute("PRAGMA user_version = 2")
    old.commit()
    old.close()
    ion = with_state(ETHANE, ElectronicState(1, 2))
    for _ in range(2):
        with LabelStore(tmp_path / "l.sqlite") as store:
            store.put_ok("b", ion, energy=2.0, forces=FORCES, method="m")
            first, second = store.frames(["a", "b"])
            assert store.check("m") is None
        assert (state_of(first), state_of(second)) == ((0, 1), (1, 2))
        assert "charge" not in first.info and second.info["charge"] == 1


def test_labels_are_counted_by_status_and_listed_by_origin(tmp_path):
    with LabelStore(tmp_path / "l.sqlite") as store:
        for key, origin in (("b", "initial"), ("a", "initial"), ("c", "iteration 1")):
            store.put_ok(key, ETHANE, energy=0.0, forces=FORCES, origin=origin)
        store.put_failed("d", ETHANE, kind="not_converged", reason="", origin="initial")
        assert store.counts() == {"ok": 3, "not_converged": 1}
        assert store.keys() == ["a", "b", "c"]
        assert store.keys("initial") == ["a", "b"]
        assert store.get("x") is None


def test_a_failed_label_is_not_handed_out(tmp_path):
    with LabelStore(tmp_path / "l.sqlite") as store:
        store.put_failed("d", ETHANE, kind="not_converged", reason="")
        with pytest.raises(AlrareError, match="expected a good label d"):
            store.frames(["d"])


def test_a_transaction_is_all_or_nothing(tmp_path):
    with LabelStore(tmp_path / "l.sqlite") as store:
        with pytest.raises(KeyboardInterrupt), store.transaction():
            store.put_ok("a", ETHANE, energy=0.0, forces=FORCES)
            raise KeyboardInterrupt
        assert store.counts() == {}
        with store.transaction():
            store.put_ok("a", ETHANE, energy=0.0, forces=FORCES)
        assert store.counts() == {"ok": 1}


@pytest.mark.parametrize("together", [False, True])
def test_a_full_disk_is_told_as_such(tmp_path, together):
    with LabelStore(tmp_path / "l.sqlite") as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        big = Atoms("H500", np.arange(1500.0).reshape(500, 3))
        within = store.transaction() if together else contextlib.nullcontext()
        with pytest.raises(AlrareError, match="database or disk is full"), within:
            store.put_ok("a", big, energy=0.0, forces=np.zeros((500, 3)))
        assert store.counts() == {}


def test_a_foreign_or_damaged_file_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "foreign.sqlite")
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    (tmp_path / "damaged.sqlite").write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(AlrareError, match=r"foreign.sqlite: expected a label store .* foreign file"),
        LabelStore(tmp_path / "foreign.sqlite"),
    ):
        pass
    with (
        pytest.raises(
            AlrareError, match=r"damaged.sqlite: the label store is damaged .* move it away"
        ),
        LabelStore(tmp_path / "damaged.sqlite"),
    ):
        pass
