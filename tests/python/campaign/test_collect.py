"""`alrare data`: the labels of campaigns as one file that can be trained on."""

import json

import numpy as np
import pytest
from alrare import collect_labels, load_ensemble
from alrare.cli.parser import main
from alrare.electronic_state import state_of
from alrare.errors import AlrareError
from alrare.frames import frame_key, label_of, read_frames
from alrare.labelling import LabelStore
from ase import Atoms
from ase.build import molecule
from springs import springs

TBLITE = {"program": "tblite", "method": "GFN2-xTB", "version": "0.4"}
OTHER = {"program": "ase", "calculator": "my.Springs"}


def configurations(formula, count, seed):
    frames = []
    for number in range(count):
        atoms = molecule(formula)
        atoms.rattle(0.05, seed=seed + number)
        frames.append(atoms)
    return frames


def put(folder, frames, method="a" * 64, description=TBLITE, origin="initial data"):
    """Label frames in the store of a campaign by springs."""
    with LabelStore(folder / "labels" / "labels.sqlite") as store:
        store.put_method(method, description)
        for atoms in frames:
            energy, forces = springs(atoms) if len(atoms) > 1 else (-0.5, np.zeros((1, 3)))
            store.put_ok(
                frame_key(atoms, method), atoms,
                energy=energy, forces=forces, origin=origin, method=method,
            )  # fmt: skip


def put_failed(folder, atoms, method="a" * 64):
    with LabelStore(folder / "labels" / "labels.sqlite") as store:
        store.put_failed(
            frame_key(atoms, method), atoms, kind="not_converged", reason="none", method=method
        )


@pytest.fixture
def campaigns(tmp_path):
    """Two run folders; the second, which was renamed, repeats two labels of the first."""
    first, second = tmp_path / "methane", tmp_path / "copy"
    shared = configurations("CH4", 2, seed=50)
    put(first, [*configurations("CH4", 4, seed=0), *shared])
    put(first, configurations("CH4", 2, seed=20), origin="iteration 1")
    put(first, [Atoms("H"), Atoms("C")], origin="isolated")
    put(second, [*shared, *configurations("C2H6", 5, seed=0)])
    put_failed(second, molecule("C2H4"))
    (second / "config.resolved.json").write_text(json.dumps({"name": "ethane"}))
    return first, second


def test_each_configuration_is_written_once_with_what_is_known_of_it(campaigns):
    found = collect_labels(campaigns)
    frames = found.frames
    assert (len(frames), found.repeated, found.failed) == (15, 2, 1)
    assert found.name == "GFN2-xTB (tblite)" and found.method == "a" * 64
    assert len({frame_key(frame, "") for frame in frames}) == 15
    named = [(frame.info["config_type"], frame.info["origin"]) for frame in frames]
    assert {one: named.count(one) for one in named} == {
        ("methane", "initial data"): 6,
        ("methane", "iteration 1"): 2,
        ("methane", "isolated"): 2,
        ("ethane", "initial data"): 5,
    }
    for frame in frames:
        assert (frame.info["charge"], frame.info["multiplicity"]) == tuple(state_of(frame))
        if len(frame) > 1:
            energy, forces = springs(frame)
            assert label_of(frame)[0] == energy
            np.testing.assert_array_equal(label_of(frame)[1], forces)


def test_the_file_trains(campaigns, tmp_path, capsys):
    path = tmp_path / "all.extxyz"
    assert main(["data", *map(str, campaigns), "-o", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"{path}: 15 labels by GFN2-xTB (tblite); left out: 2 repeated, 1 failed\n"
    )
    assert len(read_frames(path)) == 15
    train = ["train", str(path), "-o", str(tmp_path / "model"), "--members", "2", "-q"]
    train += ["--hidden-default", "[8]", "--hidden", "{}", "--epochs", "2", "--min-steps", "1"]
    assert main([*train, "--any-units", "--workers", "1"]) == 0
    assert load_ensemble(tmp_path / "model").metadata.method == "a" * 64


def test_labels_of_two_methods_are_refused_unless_one_is_chosen(campaigns, tmp_path, capsys):
    put(campaigns[1], configurations("CH4", 3, seed=0), method="b" * 64, description=OTHER)
    arguments = ["data", *map(str, campaigns), "-o", str(tmp_path / "all.extxyz")]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "alrare: expected labels of one method, since energies of two do not belong together, got"
        f" {'a' * 16} (GFN2-xTB (tblite), 17 labels), {'b' * 16} (my.Springs (ase), 3 labels);"
        " choose one with --method (method= in Python)\n"
    )
    assert main([*arguments, "--method", "bb"]) == 0
    assert "3 labels by my.Springs (ase); left out: 0 repeated, 0 failed" in capsys.readouterr().out
    assert {frame.info["method"] for frame in read_frames(tmp_path / "all.extxyz")} == {"b" * 64}
    assert main([*arguments, "--method", "c"]) == 1
    told = "method c: expected the beginning of one of aaaaaaaaaaaaaaaa (GFN2-xTB (tblite)"
    assert told in capsys.readouterr().err


def test_a_folder_of_labels_alone_will_do(campaigns):
    found = collect_labels([campaigns[0] / "labels"])
    assert len(found.frames) == 10 and found.frames[0].info["config_type"] == "labels"


def test_what_holds_no_labels_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["data", str(tmp_path / "empty"), "-o", str(tmp_path / "all.extxyz")]) == 1
    assert "empty: holds no labels; expected the run folder" in capsys.readouterr().err
    assert not list((tmp_path / "empty").iterdir())
    put_failed(tmp_path / "failed", molecule("CH4"))
    with pytest.raises(AlrareError, match="failed: expected labels, found no good one"):
        collect_labels([tmp_path / "failed"])
    with pytest.raises(AlrareError, match="collect_labels: expected a sequence of run folders"):
        collect_labels(str(tmp_path))
    put(tmp_path / "one", configurations("CH4", 1, seed=0))
    assert main(["data", str(tmp_path / "one"), "-o", str(tmp_path / "all.dat")]) == 1
    assert "expected a name that ends in .extxyz or .xyz" in capsys.readouterr().err
