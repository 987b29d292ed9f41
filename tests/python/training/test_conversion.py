"""The conversion of a data set of arrays that docs/training.md shows."""

import re
from pathlib import Path

import numpy as np
import pytest
from alrare.frames import label_of, read_frames

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "training.md"


def test_the_lines_of_the_document_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "rmd17" in block)
    monkeypatch.chdir(tmp_path)
    np.savez(
        "rmd17_ethanol.npz",
        nuclear_charges=[6, 1],
        coords=np.arange(12.0).reshape(2, 2, 3),
        energies=[-100.0, -101.0],
        forces=np.ones((2, 2, 3)),
    )
    exec(code, {})
    first, second = read_frames("ethanol.extxyz")
    assert first.get_chemical_symbols() == ["C", "H"]
    assert label_of(second)[0] == pytest.approx(-101.0 / 23.0605, rel=1e-4)
    assert label_of(second)[1][0, 0] == pytest.approx(1 / 23.0605, rel=1e-4)
