"""Training: it learns, repeats exactly, and goes on after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import EnsembleCalculator, config, train
from alrare.errors import AlrareError
from alrare.frames import label_of, labelled
from alrare.model.aev import AEVConstants
from alrare.model.ensemble import Ensemble, load_ensemble, stack_members
from alrare.model.torchscript import load_torchscript
from alrare.training.dataset import Split
from alrare.training.members import astray, excess
from alrare.training.trainer import count_epochs
from ani_reference import evaluate
from ase.build import bulk, molecule
from small_training import FAST, data, fit, metadata, run, splits


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["paper", "fast"])
def test_training_learns_and_the_export_predicts_what_was_reported(
    tmp_path: Path, recipe: str
) -> None:
    settings = FAST.model_copy(update={"recipe": recipe})
    result = fit(tmp_path, settings)
    assert result.curve[-1].train_loss < 0.5 * result.curve[0].train_loss
    if recipe == "paper":  # its rule
        errors = [epoch.validation_energy_mse for epoch in result.curve]
        assert result.best_epoch == 1 + int(np.argmin(errors))
    assert result.halvings == 0
    frames = data()
    said = evaluate(Ensemble(metadata(frames), stack_members([result.weights])), frames)
    energy = [abs(e - label_of(a)[0]) for e, a in zip(said.energies[0], frames, strict=True)]
    force = [np.abs(f[0] - label_of(a)[1]) for f, a in zip(said.forces, frames, strict=True)]
    assert np.mean(energy) == pytest.approx(result.everything.energy, abs=1e-4)
    assert np.mean(np.concatenate(force)) == pytest.approx(result.everything.force, rel=1e-3)


def test_few_data_get_more_epochs_unless_epochs_are_given() -> None:
    fast = config.Train.model_validate({"recipe": "fast"})
    steps = fast.min_steps
    assert count_epochs(fast, 320) == -(-steps // 10)
    assert count_epochs(fast, 320 * steps) == fast.epochs == 20
    given = config.Train.model_validate({"recipe": "fast", "epochs": 3})
    assert count_epochs(given, 240) == 3
    assert count_epochs(config.Train(recipe="paper"), 10) == 300


def test_the_descriptor_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    asked = {"radial_cutoff": 6.0, "angular_cutoff": 4.0, "radial_shifts": 20}
    asked |= {"angular_shifts": 10, "angle_sections": 7}
    model = config.Model.model_validate({"members": 2, "hidden_default": (8,)} | asked)
    settings = FAST.model_copy(update={"epochs": 2})
    path = train(data(), model=model, settings=settings, folder=tmp_path, workers=1)
    ensemble = load_ensemble(path)
    sizes = AEVConstants.of_resolution(**{key: getattr(model, key) for key in asked})
    assert ensemble.metadata.aev == sizes != AEVConstants()
    frames = data()[:3]
    said = evaluate(ensemble, frames)
    calculator = EnsembleCalculator(path)
    for k, frame in enumerate(frames):
        calculator.calculate(frame)
        assert calculator.results["member_energies"] == pytest.approx(said.energies[:, k], abs=1e-4)
        assert np.abs(calculator.results["member_forces"] - said.forces[k]).max() < 1e-4
    with pytest.raises(AlrareError, match="expected at most radial_cutoff, 4, got 5"):
        config.Model(radial_cutoff=4.0, angular_cutoff=5.0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    first, same, other = (fit(tmp_path, FAST, seed=seed) for seed in (1, 1, 2))
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, same.weights[name])
    assert not torch.equal(first.weights["C.0.weight"], other.weights["C.0.weight"])


@pytest.mark.slow
def test_the_weights_do_not_depend_on_the_memory_for_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FAST.model_copy(update={"epochs": 3})
    roomy = fit(tmp_path, settings)
    monkeypatch.setattr("alrare.training.ani_trainer.BATCH_MEMORY", 0)
    tight = fit(tmp_path, settings)
    for name, tensor in roomy.weights.items():
        assert torch.equal(tensor, tight.weights[name])


@pytest.mark.slow
def test_an_element_that_only_validates_does_not_break_training(tmp_path: Path) -> None:
    frames = data()
    water = molecule("H2O")
    alone = labelled(water, -14.0, np.zeros((3, 3)))
    result = fit(tmp_path, FAST, frames=[*frames[:-1], alone])
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.weights.values())


@pytest.mark.slow
def test_members_are_trained_in_parallel_and_finished_ones_are_kept(tmp_path: Path) -> None:
    isolated = {"H": -3.0, "C": 5.0}
    path, progress = run(tmp_path, isolated=isolated)
    assert progress.stages == [("descriptors", 24), ("training epochs", 24)]
    ensemble = load_ensemble(path)
    assert ensemble.metadata.elements == ("H", "C")
    assert ensemble.metadata.method == "method-hash"
    assert ensemble.metadata.seeds == (3000, 3001)
    assert load_torchscript(tmp_path / "ensemble.pt")[1]["dataset"] == ensemble.metadata.dataset
    metrics = json.loads((tmp_path / "training.json").read_text())
    forces = [member["all"]["force_mae"] for member in metrics["members"]]
    assert ensemble.metadata.best_member == metrics["best_member"] == int(np.argmin(forces))
    assert len(metrics["members"][0]["curve"]["train_loss"]) == 12
    assert (tmp_path / "curves.png").is_file() and (tmp_path / "curves.csv").is_file()
    assert not list(tmp_path.glob(".member*"))

    training = ensemble.metadata.training  # what it takes to train it again
    assert training["settings"]["epochs"] == 12 and training["seed"] == 3
    assert training["isolated"] == {"H": -3.0, "C": 5.0} and training["start"] == ""
    assert training["states"] == [{"charge": 0, "multiplicity": 1, "formulas": ["C2H6", "CH4"]}]
    assert training["torch"] == torch.__version__ and training["n_frames"] == 24
    rows = [int(mask, 16) for mask in training["validation_rows"]]
    validation = [tuple(k for k in range(24) if row >> k & 1) for row in rows]
    assert validation == [split.validation for split in splits()]
    assert metrics["training"] == training

    whole = path.read_bytes()
    path.unlink()
    (tmp_path / "member_1.safetensors").unlink()  # as if killed before member 1 was finished
    again, progress = run(tmp_path, isolated=isolated, workers=1)
    assert progress.stages == [("training epochs", 12)]
    assert again.read_bytes() == whole

    shorter = FAST.model_copy(update={"epochs": 2})
    _, progress = run(tmp_path, isolated=isolated, settings=shorter, workers=1)
    assert progress.stages == [("training epochs", 4)]
    (said,) = progress.messages
    assert said.endswith("was trained with other training.settings, and is replaced")


@pytest.mark.slow
def test_cells_and_molecules_of_many_sizes_train_together(tmp_path: Path) -> None:
    frames = data(12)
    for k in range(12):
        crystal = bulk("C", "diamond", a=3.5 + 0.02 * k, cubic=bool(k % 2))
        crystal.rattle(0.05, seed=k)
        energy, forces = -7.0 * len(crystal), np.zeros((len(crystal), 3))
        frames.append(labelled(crystal, energy, forces))
    result = fit(tmp_path, FAST, frames=frames)
    said = evaluate(Ensemble(metadata(frames), stack_members([result.weights])), frames)
    errors = said.energies[0] - np.array([label_of(atoms)[0] for atoms in frames])
    assert np.abs(errors).mean() == pytest.approx(result.everything.energy, abs=1e-3)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r"frame 3 \(CH4\): expected an energy and forces"):
        run(tmp_path, frames=[*data(2), molecule("CH4")])
    with pytest.raises(AlrareError, match="one split for each of 2 members, got 1"):
        run(tmp_path, splits=splits()[:1])
    with pytest.raises(AlrareError, match="split of member 0: expected every one of 24 config"):
        run(tmp_path, splits=splits(23))
    with pytest.raises(AlrareError, match="at least 2 labelled frames, got 1"):
        run(tmp_path, frames=data(1))
    with pytest.raises(AlrareError, match=r"needs training and validation configurations, got 24"):
        run(tmp_path, splits=[Split(tuple(range(24)), ())] * 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_outlier_among_the_training_data_is_no_loss_that_runs_away(tmp_path: Path) -> None:
    frames = data()
    row = splits()[0].train[0]
    energy, forces = label_of(frames[row])
    forces[0] += 400.0
    frames[row] = labelled(frames[row], energy, forces)
    assert fit(tmp_path, FAST, frames=frames).halvings == 0


@pytest.mark.slow
def test_a_loss_that_runs_away_is_gone_back_from(tmp_path: Path) -> None:
    wild = FAST.model_copy(update={"learning_rate": 1.0, "epochs": 6})
    result = fit(tmp_path, wild)
    assert result.halvings > 0
    assert [epoch.number for epoch in result.curve] == list(range(1, 7))
    losses = [epoch.train_loss for epoch in result.curve]
    assert all(later < 10.0 * min(losses[: k + 1]) for k, later in enumerate(losses[1:]))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in result.weights.values())


def test_a_member_far_worse_than_the_others_is_found() -> None:
    def member(energy: float, force: float) -> dict[str, object]:
        return {"all": {"energy_mae": energy, "force_mae": force}}

    metrics = [member(1.0, 1.0), member(1.2, 1.1), member(1.1, 1.7), member(0.9, 1.0)]
    assert astray(metrics) == [2] and excess(metrics, 2) == pytest.approx(1.7)
    assert astray(metrics[:2]) == [] and astray(metrics[:1]) == []


@pytest.mark.slow
def test_a_member_astray_is_trained_again_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    excesses = {0: iter([1.0] * 9), 1: iter([2.0, 1.2] * 9)}
    monkeypatch.setattr("alrare.training.members.astray", lambda metrics: [1])
    monkeypatch.setattr("alrare.training.members.excess", lambda metrics, k: next(excesses[k]))
    path, progress = run(tmp_path)
    assert load_ensemble(path).metadata.seeds == (3000, 3501)
    assert (tmp_path / "member_1_again.safetensors").is_file()
    assert progress.messages == [
        "member 1 had 2.0 times the error of the others, 1.2 times when trained again from other,"
        " random weights; the better is kept"
    ]
    whole = path.read_bytes()
    path, _ = run(tmp_path)  # nothing is trained a third time
    assert path.read_bytes() == whole


@pytest.mark.slow
def test_a_diverged_training_is_an_error(tmp_path: Path) -> None:
    settings = config.Train(recipe="paper", epochs=3, learning_rate=1e30)
    with pytest.raises(AlrareError, match="training diverged"):
        run(tmp_path, settings=settings)
