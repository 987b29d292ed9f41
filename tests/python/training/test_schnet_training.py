"""Training of SchNet: its loss and gradient, its recipes, interruptions and starts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare import EnsembleCalculator, config
from alrare.errors import AlrareError, ConfigError
from alrare.frames import label_of, labelled
from alrare.model.ensemble import Ensemble, Metadata, load_ensemble, stack_members
from alrare.model.schnet import SchNetShape
from alrare.training.dataset import make_dataset
from alrare.training.ensemble import train
from alrare.training.families import TRAININGS
from alrare.training.member import Fit, fit_member
from alrare.training.member_task import starting_weights
from alrare.training.optimizer import Plateau
from alrare.training.schnet_trainer import SchNetTrainer
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from small_training import data, run, splits

SHAPE = SchNetShape(features=12, gaussians=10, interactions=2, cutoff=4.0)
MODEL = config.Model(
    family="schnet", members=2, features=12, gaussians=10, interactions=2, cutoff=4.0
)
FAST = config.Train.of_family("schnet", epochs=12, batch_size=8, learning_rate=1e-2)


def metadata(frames: list[Atoms]) -> Metadata:
    dataset = make_dataset(frames)
    energies = tuple(float(energy) for energy in dataset.self_energies)
    return Metadata(dataset.elements, {}, energies, members=1, schnet=SHAPE)


def trainer(
    frames: list[Atoms],
    settings: config.Train = FAST,
    seed: int = 1,
    start: dict[str, torch.Tensor] | None = None,
) -> SchNetTrainer:
    split = splits(len(frames))[0]
    dataset = make_dataset(frames)
    return SchNetTrainer(frames, dataset, split, metadata(frames), settings, seed, start)


def fit(frames: list[Atoms], settings: config.Train = FAST, seed: int = 1) -> Fit:
    member = trainer(frames, settings, seed)
    split = splits(len(frames))[0]
    return fit_member(member, split=split, settings=settings, seed=seed, report=lambda epoch: None)


def cells(n: int = 10) -> list[Atoms]:
    """Strained copper cells of two sizes, with stress."""
    frames = []
    for k in range(n):
        atoms = bulk("Cu", cubic=bool(k % 2))
        atoms.set_cell(atoms.cell.array * (1.0 + 0.01 * (k % 5 - 2)), scale_atoms=True)
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        stress = atoms.get_stress()
        frames.append(labelled(atoms, atoms.get_potential_energy(), atoms.get_forces(), stress))
    return frames


@pytest.mark.parametrize("frames", [data(16), cells(16)], ids=["molecules", "cells"])
def test_the_gradient_of_the_loss_is_its_slope(frames: list[Atoms]) -> None:
    member = trainer(frames)
    loss, gradients = member._loss_gradient(0)
    rng, before = np.random.default_rng(2), member.snapshot()
    directions = [torch.from_numpy(rng.normal(size=t.shape)).float() for t in before]
    losses = []
    for size in (1e-3, -1e-3):
        moved = [t + size * d for t, d in zip(before, directions, strict=True)]
        member.restore(moved)
        losses.append(member._loss_gradient(0)[0])
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((losses[0] - losses[1]) / 2e-3, rel=2e-2, abs=1e-3 * loss)


def test_the_loss_is_equation_4(tmp_path: Path) -> None:
    frames = data(8)
    settings = config.Train.of_family("schnet", epochs=1, batch_size=64, energy_share=0.3)
    member = trainer(frames, settings)
    weights = stack_members([member.exported()])
    Ensemble(metadata(frames), weights).save(tmp_path / "ensemble.safetensors")
    calculator = EnsembleCalculator(tmp_path)
    energies, forces = [], []
    for row in splits(8)[0].train:
        energy, force = label_of(frames[row])
        energies.append(calculator.get_potential_energy(frames[row]) - energy)
        forces.append((calculator.get_forces(frames[row]) - force).ravel())
    expected = 0.3 * np.mean(np.square(energies)) + 0.7 * np.mean(np.concatenate(forces) ** 2)
    assert member.training_loss() == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_training_lowers_the_errors_of_molecules_of_two_compositions() -> None:
    frames = data()
    result = fit(frames)
    assert result.kept.loss < 0.5 * result.at_start.loss
    assert result.everything.force < 0.6 * np.mean(
        [np.abs(label_of(atoms)[1]).mean() for atoms in frames]
    )
    assert len(result.curve) == 12 and result.best_epoch > 9


@pytest.mark.slow
def test_stress_is_learned_where_it_is_weighted() -> None:
    frames = cells(20)
    settings = config.Train.of_family("schnet", epochs=20, batch_size=4, learning_rate=1e-2)
    with_it = fit(frames, settings)
    without = fit(frames, settings.model_copy(update={"stress_weight": 0.0}))
    assert with_it.everything.stress is not None and without.everything.stress is not None
    assert with_it.everything.stress < without.everything.stress


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_the_same_seed_gives_the_same_weights(recipe: str) -> None:
    settings = config.Train.of_family("schnet", recipe=recipe, epochs=3, batch_size=8)
    frames = data(12)
    first, same, other = (fit(frames, settings, seed) for seed in (1, 1, 2))
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, same.weights[name])
    assert not torch.equal(first.weights["embedding"], other.weights["embedding"])


@pytest.mark.slow
def test_members_are_kept_when_the_training_is_interrupted(tmp_path: Path) -> None:
    settings = config.Train.of_family("schnet", recipe="paper", epochs=3, batch_size=8)
    path, progress = run(tmp_path, model=MODEL, settings=settings, workers=1)
    assert progress.stages == [("training epochs", 6)]
    content = load_ensemble(path).metadata
    assert content.family == "schnet" and content.schnet == SHAPE
    assert content.training["settings"]["energy_share"] == 0.1
    assert not {"force_weight", "family"} & set(content.training["settings"])
    whole = path.read_bytes()
    path.unlink()
    (tmp_path / "member_1.safetensors").unlink()
    again, progress = run(tmp_path, model=MODEL, settings=settings, workers=1)
    assert progress.stages == [("training epochs", 3)] and again.read_bytes() == whole
    wider = MODEL.model_copy(update={"cutoff": 5.0})
    _, progress = run(tmp_path, model=wider, settings=settings, workers=1)
    assert progress.stages == [("training epochs", 6)]
    assert any(said.endswith("with other schnet, and is replaced") for said in progress.messages)


@pytest.mark.slow
def test_the_errors_of_training_are_those_of_the_model(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 3})
    path, _ = run(tmp_path, model=MODEL, settings=settings, workers=1)
    metrics = json.loads((tmp_path / "training.json").read_text())["members"]
    for number, member in enumerate(metrics):
        calculator = EnsembleCalculator(path, forces=number + 1)
        errors = [
            (
                abs(calculator.get_potential_energy(atoms) - label_of(atoms)[0]),
                np.abs(calculator.get_forces(atoms) - label_of(atoms)[1]).sum(),
            )
            for atoms in data()
        ]
        energy, force = (sum(values) for values in zip(*errors, strict=True))
        components = sum(3 * len(atoms) for atoms in data())
        assert member["all"]["energy_mae"] == pytest.approx(energy / 24, rel=1e-4)
        assert member["all"]["force_mae"] == pytest.approx(force / components, rel=1e-4)


@pytest.mark.slow
def test_training_goes_on_from_an_earlier_model_of_another_method(tmp_path: Path) -> None:
    frames = data()
    earlier = fit(frames)
    saved = Ensemble(metadata(frames), stack_members([earlier.weights]))
    saved.save(tmp_path / "ensemble.safetensors")
    others = []
    for atoms in frames:
        energy, forces = label_of(atoms)
        carbon = int(np.sum(atoms.numbers == 6))
        others.append(labelled(atoms, energy + 200.0 * carbon - 30.0 * len(atoms), forces))
    moved = make_dataset(others, isolated={"H": -3.0, "C": 5.0})
    now = replace(metadata(others), self_energies=tuple(moved.self_energies))
    start = starting_weights(tmp_path / "ensemble.safetensors", now, 0)
    split = splits()[0]
    warm = SchNetTrainer(others, moved, split, now, FAST, 1, start)
    assert warm.validate().loss < 2.0 * earlier.kept.loss < 0.5 * trainer(others).validate().loss
    refused = (
        (replace(now, schnet=SchNetShape()), "a model of other shape"),
        (replace(now, schnet=None, hidden={"H": (8,), "C": (8,)}), "a model of other family"),
    )
    for other, message in refused:
        with pytest.raises(AlrareError, match=message):
            starting_weights(tmp_path / "ensemble.safetensors", other, 0)


@pytest.mark.slow
def test_a_model_of_one_family_is_no_start_for_another(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 1})
    path, _ = run(tmp_path / "schnet", model=MODEL, settings=settings, workers=1)
    with pytest.raises(AlrareError, match="other family: schnet there, ani here"):
        run(tmp_path / "ani", start=path)


def test_the_papers_rate_falls_where_the_loss_stays_and_ends_the_training() -> None:
    plateau = Plateau(5e-4, 1e-6)
    theirs = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=5e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=0.8, patience=5, min_lr=1e-6
    )
    rng = np.random.default_rng(3)
    for loss in 1.0 / np.sqrt(np.arange(1.0, 400.0)) + 0.02 * rng.uniform(size=399):
        plateau.consider(float(loss))
        scheduler.step(float(loss))
        assert plateau.rate == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9, abs=1.1e-8)
    assert plateau.rate == 1e-6


@pytest.mark.slow
def test_recipe_paper_ends_at_its_lowest_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alrare.training.schnet_trainer.LOWEST_RATE", 4.5e-4)
    settings = config.Train.of_family("schnet", recipe="paper", epochs=300, learning_rate=5e-4)
    frames = data(6)
    member = trainer(frames, settings)
    member.end_epoch(member.validate())
    for _ in range(6):  # the weights stay, so the loss does
        assert not member.finished
        member.end_epoch(member.validate())
    assert member.finished


def test_an_atom_at_another_ones_place_is_refused() -> None:
    frames = data(6)
    frames[2].positions[1] = frames[2].positions[0]
    with pytest.raises(AlrareError, match="are at the same place"):
        trainer(frames)


def test_keys_of_the_other_family_are_refused() -> None:
    for given, message in (
        ({"family": "schnet", "radial_cutoff": 6.0}, 'radial_cutoff is for family = "ani" only'),
        ({"family": "schnet", "hidden": {"H": [8]}}, 'hidden is for family = "ani" only'),
        ({"features": 64}, 'features is for family = "schnet" only'),
        ({"cutoff": 6.0}, 'cutoff is for family = "schnet" only'),
        ({"family": "other"}, "expected 'ani' or 'schnet'"),
    ):
        with pytest.raises(ConfigError, match=message):
            config.Model(**given)
    with pytest.raises(ConfigError, match='expected "cpu", "cuda" or "cuda:N"'):
        config.Train.of_family("schnet", device="gpu")
    with pytest.raises(ConfigError, match='force_weight is for family = "ani" only'):
        config.Train.of_family("schnet", force_weight=1.0)
    with pytest.raises(ConfigError, match='energy_share is for family = "schnet" only'):
        config.Train.of_family("ani", energy_share=0.1)


def test_settings_of_another_family_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r'Train\.of_family\("schnet", \.\.\.\)'):
        train(data(), folder=tmp_path, model=MODEL, settings=config.Train(), any_units=True)


@pytest.mark.slow
def test_a_hydrogen_in_a_large_box_among_molecules_trains() -> None:
    alone = labelled(Atoms("H2", [[0, 0, 0], [0, 0, 9.0]]), 3.0, np.zeros((2, 3)))
    water = labelled(molecule("CH4"), 4.0, np.zeros((5, 3)))
    result = fit([*data(10), alone, water], FAST.model_copy(update={"epochs": 2}))
    assert np.isfinite(result.everything.energy + result.everything.force)


def test_every_family_of_models_can_be_trained() -> None:
    from alrare.model.ensemble import FAMILIES

    assert set(TRAININGS) == set(FAMILIES) == set(config.FAMILY_RECIPES)
