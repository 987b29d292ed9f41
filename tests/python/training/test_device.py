"""Training on a device other than the CPU, for both families."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
import small_training
import torch
from alrare import config
from alrare.errors import AlrareError
from alrare.model.aev import AEVConstants
from alrare.model.ensemble import load_ensemble
from alrare.training import ani_trainer
from alrare.training.dataset import make_dataset
from alrare.training.descriptor_cache import AtomBatch, Batch, DescriptorCache
from alrare.training.device import CPU, moved, open_device
from alrare.training.gradients import Labels, Strain, TorchGradient
from alrare.training.whitening import identity
from small_training import FAST, SMALL, data, run

EPOCHS = {"epochs": 6, "batch_size": 8, "learning_rate": 1e-2}
FAMILIES = {
    "ani": {"model": SMALL, "settings": FAST.model_copy(update={"epochs": 6})},
    "schnet": {
        "model": config.Model(
            family="schnet", members=2, features=12, gaussians=10, interactions=2, cutoff=4.0
        ),
        "settings": config.Train.of_family("schnet", **EPOCHS),
    },
}


def fit(folder: Path, family: str, device: str = "cpu") -> list[float]:
    """Train two members; return the loss of each after every epoch."""
    model, settings = FAMILIES[family]["model"], FAMILIES[family]["settings"]
    settings = settings.model_copy(update={"device": device})
    run(folder, model=model, settings=settings, workers=1)
    members = json.loads((folder / "training.json").read_text())["members"]
    return [loss for member in members for loss in member["curve"]["train_loss"]]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_device_trains_as_the_cpu_does(
    family: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    device = pytestconfig.getoption("--device")
    if device == "auto":
        pytest.skip("give --device=cuda (make check-gpu)")
    here = fit(tmp_path / "here", family)
    there = fit(tmp_path / "there", family, device)
    assert there[0] == pytest.approx(here[0], rel=1e-2)  # rounding grows in training
    assert there == pytest.approx(here, rel=0.2)
    weights = load_ensemble(tmp_path / "there" / "ensemble.safetensors").weights
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_ani_begins_on_a_device_as_on_the_cpu(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    device = pytestconfig.getoption("--device")
    if device == "auto":
        pytest.skip("give --device=cuda (make check-gpu)")
    settings = FAST.model_copy(update={"epochs": 1})
    here = small_training.fit(tmp_path, settings)
    there = small_training.fit(tmp_path, settings.model_copy(update={"device": device}))
    assert there.at_start.loss == pytest.approx(here.at_start.loss, rel=1e-4)


def test_what_trains_ani_on_a_device_trains_as_the_native_engine_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = FAST.model_copy(update={"epochs": 6})
    here = small_training.fit(tmp_path, settings)
    monkeypatch.setattr(ani_trainer, "open_gradient_engine", lambda device: TorchGradient())
    there = small_training.fit(tmp_path, settings)
    losses = [[epoch.train_loss for epoch in one.curve] for one in (here, there)]
    assert losses[0] != losses[1]  # rounded otherwise
    assert there.at_start.loss == pytest.approx(here.at_start.loss, rel=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gpu_that_is_not_there_is_named(
    family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes that train
    with pytest.raises(AlrareError, match=r'device = "cuda" .*finds no CUDA device'):
        fit(tmp_path, family, "cuda")


def test_a_gpu_of_too_large_a_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert open_device("cuda").type == "cuda" and open_device("cuda:1").index == 1
    with pytest.raises(AlrareError, match=r'device = "cuda:2" \(\[run\]\): .* devices 0 to 1'):
        open_device("cuda:2", "run")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_member_that_is_finished_is_kept_wherever_others_are_trained(
    family: str, tmp_path: Path
) -> None:
    here = fit(tmp_path, family)
    (tmp_path / "ensemble.safetensors").unlink()
    assert fit(tmp_path, family, "cuda") == here  # where there is no such device


def test_every_tensor_of_a_step_of_ani_is_moved(tmp_path: Path) -> None:
    frames = data(3)
    elements = make_dataset(frames).elements
    cache = DescriptorCache(tmp_path, constants=AEVConstants(), elements=elements)
    cache.add(frames)
    batch = cache.batch(cache.keys(frames))
    one = torch.ones(1)
    labels = Labels(one, one, one, Strain(one, one))
    names = {field.name for field in fields(Batch)} | {field.name for field in fields(AtomBatch)}
    assert names >= {"atoms", "jacobian", "aev"}
    meta = torch.device("meta")
    for value in (batch, labels, identity(4)):
        assert moved(value, CPU) is value
        assert tensors_on(moved(value, meta)) == {"meta"}
    assert moved(batch, meta).n_elements == batch.n_elements


def tensors_on(value: object) -> set[str]:
    """Where the tensors of a dataclass are, also those of its parts."""
    found = set()
    for field in fields(value):  # type: ignore[arg-type]
        content = getattr(value, field.name)
        if isinstance(content, torch.Tensor):
            found.add(content.device.type)
        elif hasattr(content, "__dataclass_fields__"):
            found |= tensors_on(content)
    return found
