"""The model file of an ensemble, and the spread of its members."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.errors import ModelError
from alrare.model.calculator import EnsembleCalculator
from alrare.model.ensemble import energy_std, load_ensemble
from ani_reference import random_ensemble
from safetensors.torch import save_file


def test_a_saved_ensemble_is_read_back_exactly(tmp_path: Path) -> None:
    ensemble = random_ensemble(self_energies=(-13.6, -1030.0), best_member=2, seed=7)
    ensemble.save(tmp_path / "ensemble.safetensors")
    read = load_ensemble(tmp_path / "ensemble.safetensors")
    assert read.metadata == ensemble.metadata
    assert set(read.weights) == set(ensemble.weights)
    assert all(torch.equal(read.weights[name], ensemble.weights[name]) for name in read.weights)


def test_metadata_holds_every_key_of_the_format() -> None:
    content = json.loads(random_ensemble().metadata.to_json())
    assert content["format"] == "alrare-ensemble"
    assert content["units"] == {"length": "angstrom", "energy": "eV"}
    assert content["hidden"] == {"H": [256, 192, 160], "C": [224, 192, 160]}
    assert {
        "format_version", "elements", "members", "best_member", "cutoff", "angular_cutoff",
        "receptive_field", "aev", "activation", "self_energies", "method", "dataset",
        "alrare_version", "seeds",
    } <= set(content)  # fmt: skip


def test_energy_std_is_the_sample_standard_deviation() -> None:
    assert energy_std(np.array([[1.0, 0.0], [3.0, 0.0]])) == pytest.approx([np.sqrt(2), 0.0])
    with pytest.raises(ValueError, match="at least 2 members, got 1"):
        energy_std(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"shape \(M, N\), one row per member, got shape \(4,\)"):
        energy_std(np.ones(4))


def test_foreign_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    with pytest.raises(ModelError, match=r"ensemble\.safetensors: expected an ensemble"):
        load_ensemble(path)
    path.write_bytes(b"nothing like it")
    with pytest.raises(ModelError, match=r"ensemble\.safetensors: expected an ensemble"):
        load_ensemble(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="without alrare's metadata"):
        load_ensemble(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"alrare": '{"format": "other"}'})
    with pytest.raises(ModelError, match="metadata of another format"):
        load_ensemble(path)
    ensemble = random_ensemble()
    weights = dict(ensemble.weights)
    weights["C.1.weight"] = weights["C.1.weight"][:, :5].contiguous()
    save_file(weights, path, metadata={"alrare": ensemble.metadata.to_json()})
    with pytest.raises(ModelError, match=r"C\.1\.weight: expected shape \(3, 192, 224\)"):
        load_ensemble(path)


def _flipped(content: bytes, where: int) -> bytes:
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


def test_a_flipped_bit_in_weights_or_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(hidden_default=(8,), self_energies=(-13.6, -1030.0)).save(path)
    whole = path.read_bytes()
    for where in (len(whole) - 4, whole.index(b"-1030.0") + 2):
        path.write_bytes(_flipped(whole, where))
        for read in (load_ensemble, EnsembleCalculator):
            with pytest.raises(ModelError, match=r"damaged: its weights or .* copy the"):
                read(path)


def test_a_truncated_model_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.safetensors"
    random_ensemble(hidden_default=(8,)).save(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, 100, 0):
        path.write_bytes(whole[:length])
        for read in (load_ensemble, EnsembleCalculator):
            with pytest.raises(ModelError, match="copy the file again, or train again"):
                read(path)


def test_a_model_of_before_the_checksum_is_read(tmp_path: Path) -> None:
    ensemble = random_ensemble(hidden_default=(8,))
    path = tmp_path / "ensemble.safetensors"
    save_file(dict(ensemble.weights), path, metadata={"alrare": ensemble.metadata.to_json()})
    assert load_ensemble(path).metadata == ensemble.metadata


@pytest.mark.slow
@pytest.mark.parametrize("write", ["ensemble.save(path)", "export_torchscript(ensemble, path)"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_model(tmp_path: Path, write: str) -> None:
    path = tmp_path / "model"
    path.write_text("old")
    code = f"""
import resource, signal, sys
from pathlib import Path
from alrare.errors import AlrareError
from alrare.model.torchscript import export_torchscript
from ani_reference import random_ensemble
path, ensemble = Path(sys.argv[1]), random_ensemble(hidden_default=(8,))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    {write}
except AlrareError as error:
    print(error)
"""
    tests = Path(__file__).parents[2]
    python = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", code, path],
        env=os.environ | {"PYTHONPATH": python},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(f"{path}: could not be written (File too large)")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
