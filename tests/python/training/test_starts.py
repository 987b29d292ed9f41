"""Training that starts from an earlier model: of the same data, and of another method."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alrare.errors import AlrareError
from alrare.frames import label_of, labelled
from alrare.model.ensemble import Ensemble, load_ensemble, stack_members
from alrare.training.dataset import make_dataset
from alrare.training.member import Fit
from alrare.training.member_task import starting_weights
from ani_reference import evaluate
from ase import Atoms
from small_training import FAST, data, fit, metadata, run, splits


@pytest.mark.slow
def test_training_goes_on_from_an_earlier_model(tmp_path: Path) -> None:
    frames = data()
    first = fit(tmp_path, FAST)
    earlier = Ensemble(metadata(frames), stack_members([first.weights]))
    earlier.save(tmp_path / "ensemble.safetensors")
    # Other self energies: the networks must take the difference over.
    moved = make_dataset(frames, isolated={"H": -3.0, "C": 5.0})
    now = replace(metadata(frames), self_energies=tuple(moved.self_energies))
    start = starting_weights(tmp_path / "ensemble.safetensors", now, 3)
    settings = FAST.model_copy(update={"epochs": 1, "learning_rate": 1e-5})
    warm = fit(tmp_path, settings, start=start, dataset=moved)
    cold = fit(tmp_path, settings, dataset=moved)
    loss = first.curve[-1].train_loss
    assert warm.curve[0].train_loss < 2.0 * loss < 0.5 * cold.curve[0].train_loss
    other = replace(now, hidden={"H": (8,), "C": (8,)})
    with pytest.raises(AlrareError, match="cannot start from a model of other hidden layers"):
        starting_weights(tmp_path / "ensemble.safetensors", other, 0)


def by_another_method(frames: list[Atoms]) -> list[Atoms]:
    """Stiffer by a tenth, and atoms counted otherwise: C by 200 eV, H by -30 eV."""
    others = []
    for atoms in frames:
        energy, forces = label_of(atoms)
        carbon = int(np.sum(atoms.numbers == 6))
        shift = 200.0 * carbon - 30.0 * (len(atoms) - carbon)
        others.append(labelled(atoms, 1.1 * energy + shift, 1.1 * forces))
    return others


@pytest.mark.slow
def test_a_start_of_another_method_is_better_than_none_and_than_it_was(tmp_path: Path) -> None:
    def errors(result: Fit, frames: list[Atoms]) -> float:
        said = evaluate(Ensemble(metadata(few), stack_members([result.weights])), frames)
        pairs = zip(said.forces, frames, strict=True)
        return float(np.mean([np.abs(f[0] - label_of(a)[1]).mean() for f, a in pairs]))

    frames = data(40)
    others = by_another_method(frames)
    few, unseen = others[:10], others[10:]
    long = FAST.model_copy(update={"epochs": 100})
    first = fit(tmp_path, long, frames=frames, split=splits(40)[0])
    Ensemble(metadata(frames), stack_members([first.weights])).save(tmp_path / "start.safetensors")
    start = starting_weights(tmp_path / "start.safetensors", metadata(few), 0)
    warm = fit(tmp_path, long, frames=few, split=splits(10)[0], start=start)
    cold = fit(tmp_path, long, frames=few, split=splits(10)[0])
    # Only the tenth is left to be learned: no energy is wrong by much.
    assert warm.at_start.energy_rmse < 0.3
    untouched = np.mean([np.abs(label_of(a)[1]).mean() for a in unseen]) / 11.0
    assert errors(warm, unseen) < 0.7 * min(errors(cold, unseen), untouched)


@pytest.mark.slow
def test_a_start_from_the_same_data_does_not_get_worse(tmp_path: Path) -> None:
    frames, long = data(), FAST.model_copy(update={"epochs": 100})
    first = fit(tmp_path, long)
    Ensemble(metadata(frames), stack_members([first.weights])).save(tmp_path / "start.safetensors")
    start = starting_weights(tmp_path / "start.safetensors", metadata(frames), 0)
    again = fit(tmp_path, long, start=start, seed=2)
    assert again.at_start.loss == pytest.approx(first.kept.loss, rel=0.01)
    assert again.kept.loss < 1.1 * first.kept.loss


@pytest.mark.slow
def test_the_worth_of_a_start_is_told(tmp_path: Path) -> None:
    first, _ = run(tmp_path / "first", method="one")
    # Steps that are far too long spoil the weights; nothing draws them back to the start.
    wild = FAST.model_copy(update={"epochs": 4, "learning_rate": 0.3, "weight_decay": 0.0})
    path, progress = run(tmp_path / "second", method="other", settings=wild, start=first)
    said = progress.messages
    (text,) = (text for text in said if text.startswith(f"start {first}: on validation data"))
    assert "; training made it worse" in text
    assert text.endswith("; its labels were by another method")
    before = json.loads((first.parent / "training.json").read_text())["members"]
    after = json.loads((path.parent / "training.json").read_text())["members"]
    for old, new in zip(before, after, strict=True):
        assert new["at_start"]["force_mae"] == pytest.approx(old["kept"]["force_mae"], rel=1e-3)
        assert new["kept"]["force_mae"] > new["at_start"]["force_mae"]
    _, progress = run(tmp_path / "third", method="one", start=first)
    assert not any("worse" in text or "another method" in text for text in progress.messages)


@pytest.mark.slow
def test_the_worth_of_a_start_is_that_of_the_first_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run(tmp_path / "first")
    before = json.loads((first.parent / "training.json").read_text())["members"]
    monkeypatch.setattr("alrare.training.members.astray", lambda metrics: [0])
    excesses = iter([2.0, 1.0])
    monkeypatch.setattr("alrare.training.members.excess", lambda metrics, k: next(excesses))
    path, progress = run(tmp_path / "second", start=first)
    said = progress.messages
    assert load_ensemble(path).metadata.seeds == (3500, 3001)
    (text,) = (text for text in said if text.startswith("start "))
    force = 1000.0 * np.mean([member["kept"]["force_mae"] for member in before])
    assert text.startswith(f"start {first}: on validation data energy RMSE")
    assert f"force MAE {force:.0f} meV/Å; after training" in text
    # A second attempt begins where the first did, not anew.
    again = json.loads((path.parent / "training.json").read_text())["members"][0]["at_start"]
    assert again["force_mae"] == pytest.approx(before[0]["kept"]["force_mae"], rel=1e-3)
    assert any("when trained again with other batches" in text for text in said)
