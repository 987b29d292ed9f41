"""`alrare convert` where TorchANI, which is optional, is not installed."""

import sys
from pathlib import Path

import pytest
from alrare.cli.check import check_installation
from alrare.cli.parser import main


@pytest.fixture(autouse=True)
def _no_torchani(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchani", None)


def test_convert_says_in_one_sentence_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "ANI2x", "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install 'alrare[torchani]'" in said
    assert not (tmp_path / "out").exists()


def test_check_calls_it_missing_but_not_essential(tmp_path: Path) -> None:
    findings = check_installation(lmp="/nowhere/lmp", plugin_folder=tmp_path)
    (torchani,) = (finding for finding in findings if finding.name == "torchani")
    assert "pip install 'alrare[torchani]'" in torchani.cure and not torchani.essential
