"""A damaged label store: what is whole of it is kept, and nothing else is handed out."""

import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import frame_key
from alrare.labelling.method import method_hash
from alrare.labelling.store import LabelStore
from ase import Atoms
from ase.build import molecule

METHOD = {"program": "ase", "calculator": "springs"}
PAGE = 4096


Labels = dict[str, tuple[Atoms, float, np.ndarray]]
"""Frame, energy (eV) and forces (eV/Å) by key."""


def labelled_frames(number: int) -> Labels:
    """Molecules with random labels."""
    made = {}
    for seed in range(number):
        atoms = molecule(("C2H6", "isobutane", "C6H6")[seed % 3])
        atoms.rattle(0.1, seed=seed)
        numbers = np.random.default_rng(seed)
        key = frame_key(atoms, method_hash(METHOD))
        made[key] = (atoms, numbers.normal(), numbers.normal(size=(len(atoms), 3)))
    return made


@pytest.fixture(scope="module")
def labels() -> Labels:
    return labelled_frames(300)


@pytest.fixture
def store(tmp_path: Path, labels: Labels) -> Path:
    path = tmp_path / "labels.sqlite"
    with LabelStore(path) as writer, writer.transaction():
        writer.put_method(method_hash(METHOD), METHOD)
        for key, (atoms, energy, forces) in labels.items():
            writer.put_ok(
                key, atoms, energy=energy, forces=forces, origin="x", method=method_hash(METHOD)
            )
    return path


def damaged(content: bytes, pages: list[int], how: str, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for page in pages:
        start = page * PAGE
        if how == "a flipped bit":
            changed[start + int(rng.integers(PAGE))] ^= 1 << int(rng.integers(8))
        else:
            changed[start : start + PAGE] = bytes(PAGE) if how == "zeros" else rng.bytes(PAGE)
    return bytes(changed)


def outside(content: bytes, pages: list[int], labels: Labels) -> set[str]:
    """Keys of the labels whose first and last bytes, key and checksum, lie on no damaged page.

    A label of these molecules is on one page, or on two.
    """
    with sqlite3.connect(":memory:") as database:
        database.deserialize(content)
        checksums = dict(database.execute("SELECT key, checksum FROM labels"))
    found = set()
    for key in labels:
        ends = [
            m.start() for text in (key, checksums[key]) for m in re.finditer(text.encode(), content)
        ]
        if not {end // PAGE for end in ends} & set(pages):
            found.add(key)
    return found


def check_equal_to_the_last_bit(store: LabelStore, labels: Labels) -> None:
    for frame in store.frames(store.keys()):
        atoms, energy, forces = labels[frame.info["label"]]
        assert frame.get_potential_energy() == energy
        np.testing.assert_array_equal(frame.get_forces(), forces)
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)
        assert (frame.info["origin"], frame.info["method"]) == ("x", method_hash(METHOD))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("how", ["zeros", "noise", "a flipped bit"])
def test_every_label_outside_the_damaged_pages_is_kept(
    store: Path, labels: Labels, how: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(seed)
    content = store.read_bytes()
    pages = rng.choice(np.arange(1, len(content) // PAGE), 4 + 4 * seed, replace=False).tolist()
    if how != "a flipped bit":  # there it may say that the store is of another version
        pages.append(0)
    store.write_bytes(damaged(content, pages, how, rng))
    broken = store.read_bytes()
    whole = outside(content, pages, labels)
    for _ in range(2):
        with LabelStore(store) as opened:
            kept = set(opened.keys())
            check_equal_to_the_last_bit(opened, labels)
            assert opened.get(min(whole)) is not None
        assert whole <= kept and len(whole) > 200
    told = capsys.readouterr().err
    (copy,) = store.parent.glob("labels.damaged-*.sqlite")
    assert copy.read_bytes() == broken
    assert told.count("the label store was damaged") == 1
    assert f"{len(kept)} labels are whole" in told and copy.name in told


def test_the_store_goes_on_after_it_was_damaged(store: Path, labels: Labels) -> None:
    content = store.read_bytes()
    store.write_bytes(damaged(content, [5, 6], "noise", np.random.default_rng(0)))
    with LabelStore(store) as opened:
        lost = [key for key in labels if opened.get(key) is None]
        for key in lost:
            atoms, energy, forces = labels[key]
            opened.put_ok(
                key, atoms, energy=energy, forces=forces, origin="x", method=method_hash(METHOD)
            )
        assert lost and opened.keys() == sorted(labels)
        assert opened.methods() == {method_hash(METHOD): METHOD}


def test_a_number_changed_behind_the_back_of_sqlite_is_never_handed_out(tmp_path: Path) -> None:
    atoms = molecule("CH4")
    energies = {key: 1 / 3 + n for n, key in enumerate("abc")}
    with LabelStore(tmp_path / "labels.sqlite") as store:
        for key, energy in energies.items():
            store.put_failed(key, atoms, kind="crashed", reason="died")
            store.put_ok(key, atoms, energy=energy, forces=np.ones((5, 3)))
    with sqlite3.connect(tmp_path / "labels.sqlite") as database:
        value = np.nextafter(energies["b"], 9.0)
        database.execute("UPDATE labels SET energy = ? WHERE key = 'b'", (value,))
    with LabelStore(tmp_path / "labels.sqlite") as store:
        assert store.keys() == ["a", "c"]
        assert store.frames(["c"])[0].get_potential_energy() == energies["c"]


def test_a_locked_a_later_and_a_hopeless_store_stay_as_they_are(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = store.read_bytes()
    connect = sqlite3.connect
    with connect(store, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(
            sqlite3, "connect", lambda path, **more: connect(path, **more | {"timeout": 0})
        )
        with pytest.raises(AlrareError, match=r"locked.*end the other alrare"), LabelStore(store):
            pass
        other.execute("ROLLBACK")
        other.execute("PRAGMA user_version = 6")
    other.close()
    later = store.read_bytes()
    with (
        pytest.raises(AlrareError, match="expected a label store of version 5, got version 6"),
        LabelStore(store),
    ):
        pass
    assert store.read_bytes() == later
    hopeless = content[:PAGE] + b"x" * 5 * PAGE
    store.write_bytes(hopeless)
    with pytest.raises(AlrareError, match=r"is damaged .* move it away"), LabelStore(store):
        pass
    assert store.read_bytes() == hopeless and len(list(store.parent.iterdir())) == 1


def test_a_process_that_has_the_store_open_goes_on_in_the_mended_one(
    store: Path, labels: Labels
) -> None:
    content = store.read_bytes()
    with LabelStore(store) as first:
        store.write_bytes(damaged(content, [7], "noise", np.random.default_rng(0)))
        with LabelStore(store) as second:
            kept = second.keys()
            first.put_ok("new", molecule("CH4"), energy=1.0, forces=np.ones((5, 3)))
            assert set(second.keys()) == {*kept, "new"}


def test_labels_from_before_stress_stay_whole_and_are_not_written_again(
    store: Path, labels: Labels
) -> None:
    with sqlite3.connect(store) as database:
        database.execute("ALTER TABLE labels DROP COLUMN stress")
        database.execute("PRAGMA user_version = 4")
        query = "SELECT key, checksum FROM labels ORDER BY key"
        before = database.execute(query).fetchall()
    database.close()
    content = store.read_bytes()
    with LabelStore(store) as opened:
        assert opened.keys() == sorted(labels)
        check_equal_to_the_last_bit(opened, labels)
        assert all("stress" not in frame.calc.results for frame in opened.frames(opened.keys()))
    with sqlite3.connect(store) as database:
        assert database.execute(query).fetchall() == before
    database.close()
    whole = outside(content, [4, 5], labels)
    store.write_bytes(damaged(content, [4, 5], "noise", np.random.default_rng(0)))
    with LabelStore(store) as opened:
        check_equal_to_the_last_bit(opened, labels)
        assert whole <= set(opened.keys()) < set(labels)


def test_a_stress_changed_behind_the_back_of_sqlite_is_never_handed_out(tmp_path: Path) -> None:
    cell = Atoms("C", cell=[3.0, 3.0, 3.0], pbc=True)
    with LabelStore(tmp_path / "labels.sqlite") as store:
        for key in "abc":
            store.put_ok(key, cell, energy=1.0, forces=np.ones((1, 3)), stress=np.arange(6.0))
    with sqlite3.connect(tmp_path / "labels.sqlite") as database:
        value = np.arange(1.0, 7.0).tobytes()
        database.execute("UPDATE labels SET stress = ? WHERE key = 'a'", (value,))
        database.execute("UPDATE labels SET stress = NULL WHERE key = 'b'")
    database.close()
    with LabelStore(tmp_path / "labels.sqlite") as store:
        assert store.keys() == ["c"]


def test_a_damaged_store_from_before_checksums_stays_as_it_is(store: Path) -> None:
    with sqlite3.connect(store) as database:
        database.execute("ALTER TABLE labels DROP COLUMN stress")
        database.execute("ALTER TABLE labels DROP COLUMN checksum")
        database.execute("PRAGMA user_version = 3")
    database.close()
    content = store.read_bytes()
    broken = damaged(content, [4], "noise", np.random.default_rng(0))
    store.write_bytes(broken)
    with pytest.raises(AlrareError, match=r"is damaged .* move it away"), LabelStore(store):
        pass
    assert store.read_bytes() == broken
    store.write_bytes(content)
    with LabelStore(store) as opened:
        assert len(opened.keys()) == 300


def test_a_text_that_is_none_any_more_locks_no_label_away(store: Path, labels: Labels) -> None:
    content = store.read_bytes()
    at = content.index(b'"springs"')
    store.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    with LabelStore(store) as reader:
        assert len(reader.keys()) >= len(labels) - 10  # but those on the same page
