"""What docs/run_folder.md says of results.json is what `alrare status --json` prints."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alrare.campaign.around_event import EventErrors
from alrare.campaign.convergence import Change, Convergence
from alrare.campaign.evaluate import Evaluation, RunComparison
from alrare.campaign.results import (
    iteration_record,
    read_results,
    reference_record,
    system_record,
    write_results,
)
from alrare.cli.parser import main
from alrare.exploration.event import Event
from alrare.exploration.exploration import ACTIVATION_ENERGY
from alrare.exploration.observables import Observables
from alrare.exploration.run_result import SelectionCounts
from alrare.model.accuracy import Calibration, FrameErrors

PAGE = Path(__file__).parents[3] / "docs" / "run_folder.md"
NAMED = {
    r"observables|reference|iterations\[\]\.systems": "SYSTEM",
    r"iterations\[\]\.seconds": "STAGE",
    r".*\.offsets": "FORMULA",
}
"""Paths of objects whose keys are names that the campaign gives, and how the page calls these."""


def _run(folder: Path) -> Path:
    """Write a campaign of one iteration in which every value exists."""
    event = Event(index=3, kind="broken", atoms=(1, 2), equivalent=(1, 2))
    observed = Observables(7.7, 20, 7.6, 18, event, 1.0, 2.0)
    errors = FrameErrors(4, 0.001, 0.01, 1.5, {"C2": -0.1}, same_method=True, calibrated=1.0)
    evaluation = Evaluation(
        key=ACTIVATION_ENERGY.key,
        value=7.7,
        value_sem=0.1,
        n_runs=1,
        error=0.01,
        error_sem=0.01,
        barrier_error=0.001,
        test=errors,
        test_intact=errors,
        test_broken=errors,
        calibration=Calibration(4, *([0.1] * 8), energy_check=1.0, force_check=1.0),
        runs=(RunComparison(1, True, observed.to_json(), observed.to_json()),),
    )
    convergence = Convergence(Change(0.01, 0.01), True, EventErrors(4, 0.001, 0.01), True)
    counts = SelectionCounts(threshold=0.01).to_json()
    record = system_record(
        evaluation=evaluation.to_json(),
        selection=[counts],
        n_chosen=2,
        convergence=convergence.to_json(),
        biased=[counts],
    )
    folder.mkdir()
    (folder / "config.toml").write_text("")
    write_results(
        folder,
        observables={"hexane": ACTIVATION_ENERGY.to_json()},
        reference={"hexane": reference_record(ACTIVATION_ENERGY.key, {1: observed})},
        iterations=[
            iteration_record(
                iteration=0,
                n_labels=4,
                n_left_out=0,
                systems={"hexane": record},
                seconds={"train": 1.0},
            )
        ],
    )
    return folder


def _objects(value: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield the path and the keys of each object whose keys are fixed."""
    if isinstance(value, list):
        for entry in value:
            yield from _objects(entry, f"{path}[]")
    if not isinstance(value, dict):
        return
    name = next((name for at, name in NAMED.items() if re.fullmatch(at, path)), None)
    if name is None:
        yield path, set(value)
    for key, entry in value.items():
        yield from _objects(entry, f"{path}.{name or key}".lstrip("."))


def _documented() -> dict[str, set[str]]:
    """Return the keys of each table of the section, by what its heading names."""
    section = PAGE.read_text().split("## results.json\n")[1].split("\n## ")[0]
    found: dict[str, set[str]] = {}
    for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
        heading, _line, *rows = [line.split("|")[1] for line in table.splitlines()]
        keys = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
        for name in re.findall(r"`([^`]+)`", heading) or [""]:
            found[name] = keys
    return found


def test_the_documented_keys_of_results_json_are_those_that_status_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(_run(tmp_path / "run")), "--json"]) == 0
    printed = list(_objects(json.loads(capsys.readouterr().out)))
    documented = _documented()
    described = set()
    for path, keys in printed:
        name = next((name for name in documented if f".{path}".endswith(f".{name}")), "no table")
        assert name in documented, path
        expected = documented[name] - ({"chosen"} if path.endswith("biased_selection") else set())
        assert keys == expected, f"{path}: described as {name!r}"
        described.add(name)
    assert described == set(documented)


def test_results_in_which_runs_were_called_pulls_are_read(tmp_path):
    run = _run(tmp_path / "run")
    now = read_results(run)
    old = (run / "results.json").read_text(encoding="utf-8")
    old = old.replace('"n_runs"', '"n_pulls"').replace('"runs": [', '"pulls": [')
    assert '"pulls": [' in old
    (run / "results.json").write_text(old, encoding="utf-8")
    assert read_results(run) == now
    record = system_record(evaluation={"n_pulls": 2}, selection=[], n_chosen=0, convergence={})
    assert record["n_runs"] == 2  # of a metrics.json from before
