"""The server's side of `pair_style labeller`; tests/lammps/test_pair_labeller.py has the other."""

import socket
import struct
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from alrare.config import Labeller
from alrare.exploration.label_protocol import MAGIC
from alrare.exploration.label_server import LabelServer, labeller_potential, serve_labels
from alrare.labelling.worker import Label
from ase import Atoms
from ase.build import molecule

METHANE = molecule("CH4")
HEADER = Path(__file__).parents[3] / "src" / "pair_labeller" / "label_protocol.h"


def springs(frame: Atoms, _: int) -> Label:
    """Label a frame by springs to the origin."""
    stress = np.arange(6.0) if frame.pbc.any() else None
    return Label(0.5 * float((frame.positions**2).sum()), -frame.positions, 0.0, stress)


class Client:
    """What the pair style does, in Python."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(str(path))
        self.connection.settimeout(20)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, kind: int, atoms: Atoms, body: bytes, magic: bytes = MAGIC) -> tuple[int, bytes]:
        periodic = sum(int(flag) << axis for axis, flag in enumerate(atoms.pbc))
        head = struct.pack("=8siiii", magic, kind, len(atoms), periodic, 0)
        self.connection.sendall(head + body)
        status, size = struct.unpack("=ii", self.read(8))
        return status, self.read(size)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += (part := self.connection.recv(size - len(data)))
            assert part
        return data

    def begin(self, atoms: Atoms) -> tuple[int, bytes]:
        symbols = b"".join(s.encode().ljust(4, b"\0") for s in atoms.get_chemical_symbols())
        return self.ask(1, atoms, symbols)

    def label(self, atoms: Atoms, step: int = 0) -> tuple[int, bytes]:
        body = struct.pack("=q", step) + atoms.cell.array.tobytes() + atoms.positions.tobytes()
        return self.ask(2, atoms, body)


def test_labels_cross_to_the_last_bit() -> None:
    cell = METHANE.copy()
    cell.cell, cell.pbc = [[5.0, 0, 0], [1, 6, 0], [0.5, 0.25, 7]], True
    for atoms in (METHANE, cell):
        seen: list[tuple[Atoms, int]] = []

        def label(frame: Atoms, step: int, seen: list[tuple[Atoms, int]] = seen) -> Label:
            seen.append((frame, step))
            return springs(frame, step)

        with LabelServer(atoms, label) as server, Client(server.socket) as client:
            assert client.begin(atoms) == (0, b"")
            moved = atoms.copy()
            moved.rattle(0.1, seed=1)
            moved.set_cell(atoms.cell.array * 1.01)
            status, body = client.label(moved, step=2**40)
        known = springs(moved, 0)
        expected = [[known.energy], known.forces.ravel(), *([known.stress] if moved.pbc[0] else [])]
        np.testing.assert_array_equal(np.frombuffer(body), np.concatenate(expected))
        ((frame, step),) = seen
        assert (status, step) == (0, 2**40)
        np.testing.assert_array_equal(frame.positions, moved.positions)
        cell_of = moved if moved.pbc.any() else atoms
        np.testing.assert_array_equal(frame.cell.array, cell_of.cell.array)


def test_another_version_of_the_protocol_is_refused() -> None:
    with LabelServer(METHANE, springs) as server, Client(server.socket) as client:
        status, text = client.ask(1, METHANE, b"", magic=b"ALRLABL9")
    assert status == 1
    assert b"must be of one alrare" in text and b"ALRLABL9" in text


def test_both_sides_are_of_one_version() -> None:
    assert ", ".join(f"'{letter}'" for letter in MAGIC.decode()) in HEADER.read_text()


def test_an_error_of_the_labeller_reaches_the_other_side_and_is_kept() -> None:
    def broken(_: Atoms, __: int) -> Label:
        raise ZeroDivisionError("no such energy")

    with LabelServer(METHANE, broken) as server:
        with Client(server.socket) as client:
            client.begin(METHANE)
            assert client.label(METHANE) == (1, b"ZeroDivisionError: no such energy")
        with Client(server.socket) as another:  # the server goes on
            assert another.begin(METHANE) == (0, b"")
    assert isinstance(server.failure, ZeroDivisionError)


def test_a_server_ends_while_somebody_is_connected_and_leaves_no_file() -> None:
    with LabelServer(METHANE, springs) as server, Client(server.socket) as client:
        client.begin(METHANE)
        place = server.socket.parent
        threads = threading.active_count()
        with LabelServer(METHANE, springs), Client(server.socket):
            pass
    assert not place.exists() and threading.active_count() < threads
    assert server.failure is None


def test_the_path_of_the_socket_is_short_wherever_temporary_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with LabelServer(METHANE, springs) as server, Client(server.socket) as client:
        assert client.begin(METHANE) == (0, b"")


def test_a_labeller_serves_an_input_of_ones_own(tmp_path: Path, fake_labeller: str) -> None:
    labeller = Labeller(
        program="ase", calculator=fake_labeller, arguments={"log": str(tmp_path / "log")}
    )
    frame = METHANE.copy()
    with serve_labels(METHANE, labeller=labeller, folder=tmp_path / "labeller") as path:
        with Client(path) as client:
            client.begin(frame)
            _, body = client.label(frame)
            energy, forces = np.frombuffer(body)[0], np.frombuffer(body)[1:].reshape(-1, 3)
        frame.positions[0, 0] += 60.5
        with Client(path) as client:
            client.begin(frame)
            status, text = client.label(frame)
    assert energy == pytest.approx(0.5 * (METHANE.positions**2).sum())
    np.testing.assert_array_equal(forces, -METHANE.positions)
    assert status == 1 and text.startswith(b"crashed: ")


def test_the_potential_names_the_elements_in_the_order_of_the_types() -> None:
    text = "pair_style labeller ${labeller}\npair_coeff * * H C"
    assert labeller_potential(("H", "C")) == text
