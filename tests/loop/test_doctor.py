"""`alrare doctor`: a campaign of a minute, and what it says where something is broken."""

import json
from pathlib import Path

import pytest
from alrare.cli import check, doctor
from alrare.cli.parser import main
from alrare.config import load_config
from alrare.errors import AlrareError


def test_it_runs_a_campaign_and_says_that_everything_works(
    lmp: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    assert main(["doctor", "--quiet", "--keep", str(kept)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "Ready." in said
    assert said[-1].startswith("works: a campaign on ethane, with ") and str(kept) in said[-1]
    results = json.loads((kept / "runs" / "ethane" / "results.json").read_text())
    assert len(results["iterations"]) == 2
    assert load_config(kept / "al.toml").name == "ethane"


def test_a_broken_installation_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [check.Finding("LAMMPS", "not found", "install it")]
    monkeypatch.setattr(check, "check_installation", lambda: broken)
    assert main(["doctor"]) == 1
    assert "mend what is broken first" in capsys.readouterr().out


@pytest.mark.parametrize("value", [None, float("nan")])
def test_numbers_that_are_none_are_found(value: float | None, tmp_path: Path) -> None:
    test = {"energy_mae": value, "force_mae": 0.1}
    row = {"iteration": 0, "n_labels": 3, "systems": {"ethane": {"test": test}}}
    (tmp_path / "results.json").write_text(json.dumps({"iterations": [row]}))
    with pytest.raises(AlrareError, match="iteration 0: energy_mae is"):
        doctor._labels_of(tmp_path / "results.json")
