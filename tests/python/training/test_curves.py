"""Learning curves end up on disk as a table and a figure."""

import csv
import importlib.util
from pathlib import Path

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


def test_the_figure_is_a_png_and_repeats(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        write_figure(tmp_path / name, CURVES, [2, 1])
    content = (tmp_path / "one.png").read_bytes()
    assert content.startswith(b"\x89PNG") and content == (tmp_path / "two.png").read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_event_files_are_written_or_the_missing_package_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(AlrareError, match="pip install tensorboard"):
            open_events(tmp_path)
        return
    events = open_events(tmp_path)
    events.add_scalar("train_loss", 1.0, 1)
    events.close()
    assert list(tmp_path.glob("events.out.tfevents.*"))
