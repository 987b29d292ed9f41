"""Learning curves end up on disk as a table and a figure."""

import csv
import sys
from pathlib import Path
from types import ModuleType

import pytest
from alrare.errors import AlrareError
from alrare.training.curves import COLUMNS, open_events, write_csv, write_figure

CURVES = [{name: [0.1 * (k + 1), 0.2] for k, name in enumerate(COLUMNS)} for _ in range(2)]


def test_the_table_has_one_row_an_epoch_and_member(tmp_path: Path) -> None:
    write_csv(tmp_path / "curves.csv", CURVES)
    with (tmp_path / "curves.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["member"], row["epoch"]) for row in rows] == [
        ("0", "1"),
        ("0", "2"),
        ("1", "1"),
        ("1", "2"),
    ]
    assert float(rows[0]["validation_force_mae"]) == pytest.approx(0.4)


@pytest.mark.slow
def test_the_figure_is_a_png_and_repeats(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        write_figure(tmp_path / name, CURVES, [2, 1])
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG") and content == (tmp_path / "two.png").read_bytes()


class Writer:
    """What a `SummaryWriter` does with a folder: it begins a file there."""

    def __init__(self, log_dir: str) -> None:
        (Path(log_dir) / "events.out.tfevents.1").touch()


def test_event_files_are_written_where_tensorboard_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert isinstance(open_events(tmp_path), Writer)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_where_tensorboard_is_missing_its_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(AlrareError, match="pip install tensorboard"):
        open_events(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")
def test_the_real_tensorboard_takes_the_points(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    events = open_events(tmp_path)
    events.add_scalar("train_loss", 1.0, 1)
    events.close()
    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert b"train_loss" in file.read_bytes()
